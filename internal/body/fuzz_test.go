package body_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/everfresh-go/everfresh/internal/body"
)

// FuzzRead decodes arbitrary bytes and compares with compress/gzip alone.
func FuzzRead(f *testing.F) {
	whole := zip(f, "payload")
	f.Add([]byte(whole), int64(7), 0, int64(0))
	f.Add([]byte(whole), int64(6), 0, int64(0))
	f.Add([]byte(whole[:20]), int64(7), 0, int64(0))
	f.Add([]byte(whole+"\n"), int64(7), 0, int64(0))
	f.Add([]byte(whole+whole), int64(99), 0, int64(0))
	f.Add([]byte(zip(f, strings.Repeat("a", 100_000))), int64(1<<20), 200, int64(1000))
	f.Add([]byte(zip(f, "")), int64(0), 1, int64(0))
	f.Add([]byte{}, int64(-1), -1, int64(-1))
	f.Fuzz(func(t *testing.T, wire []byte, most int64, ratio int, after int64) {
		l := body.Limits{Max: min(most, 1<<20), Ratio: ratio, RatioAfter: after, AllowEmpty: true}
		data, err := read(t, response(bytes.NewReader(wire), coded("gzip")), l)
		again, errAgain := read(t, response(iotest.OneByteReader(bytes.NewReader(wire)), coded("gzip")), l)
		if l.Ratio <= 0 && ((err == nil) != (errAgain == nil) || !bytes.Equal(data, again)) {
			t.Errorf("%q, %v at once, but %q, %v byte by byte", data, err, again, errAgain)
		}
		want, errWant := ungzip(wire, max(l.Max, 0)+1)
		known := errors.Is(err, body.ErrTooLarge) || errors.Is(err, body.ErrTruncated) || errors.Is(err, body.ErrEncoding)
		switch {
		case err == nil && (errWant != nil || !bytes.Equal(data, want)):
			t.Errorf("%q, but compress/gzip says %q, %v", data, want, errWant)
		case err != nil && !known:
			t.Errorf("undocumented error %v", err)
		case err != nil && !errors.Is(err, body.ErrTooLarge) && errWant == nil && int64(len(want)) <= l.Max:
			t.Errorf("%v, but compress/gzip says %q", err, want)
		}
	})
}

func ungzip(wire []byte, most int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(wire))
	if errors.Is(err, io.EOF) {
		return nil, nil // a stream of no members
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, most))
}

// FuzzReadHead has arbitrary heads before a good body.
func FuzzReadHead(f *testing.F) {
	f.Add("gzip", "chunked", int64(-1), 1, false, int64(99))
	f.Add("identity, gzip", "", int64(7), 2, true, int64(3))
	f.Add("", "", int64(1<<62), 1, false, int64(1<<62))
	f.Fuzz(func(t *testing.T, coding, transfer string, n int64, major int, decoded bool, most int64) {
		for _, wire := range []string{"payload", zip(t, "payload")} {
			resp := response(strings.NewReader(wire), coded(coding), proto(major, transfer), length(n), closing)
			resp.Uncompressed = decoded
			data, err := read(t, resp, body.Limits{Max: most})
			if err == nil && string(data) != "payload" && string(data) != wire {
				t.Errorf("%q", data)
			}
			unmarked := major == 1 && n < 0 && !strings.EqualFold(transfer, "chunked") && !decoded
			if unmarked && !errors.Is(err, body.ErrUnframed) {
				t.Errorf("error %v, want ErrUnframed", err)
			}
		}
	})
}
