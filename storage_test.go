package everfresh_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

// goldenBytes are goldenRecord as it is stored: length and JSON of the header, length and
// body, checksum. They stand for the records that programs have stored.
const goldenBytes = "EVFR\x01\x00\x00\x01\xa7" +
	`{"schema":1,"key":"issuer keys","version":1764000000123456789,"status":200,` +
	`"header":{"Cache-Control":["max-age=600","public"],"Content-Type":["application/json"],` +
	`"Etag":["\"v1\""],"Last-Modified":["Mon, 24 Nov 2025 15:00:00 GMT"]},` +
	`"fetched_at":"2025-11-24T16:00:00.123456789Z","checked_at":"2025-11-24T17:00:00Z",` +
	`"fresh_until":"2025-11-24T17:10:00Z","serve_until":"2025-11-24T18:00:00Z",` +
	`"expires_at":"2025-11-25T00:00:00Z"}` +
	"\x00\x00\x00\x00\x00\x00\x00\x0e" + `{"keys":[]}` + "\x00\xff\n" +
	"6+\xa8|d\xb6,\xb3\x94dj\x9b\x8d\x98T\xbe" +
	"\xc5\x9a\xd3j\x84OsjS\xcf\xb7?c\xf7t\x83"

// goldenRecord is the record in goldenBytes. What it holds may only grow.
func goldenRecord() *everfresh.Record {
	return &everfresh.Record{
		Key: "issuer keys",
		Info: everfresh.Info{
			Version: 1764000000123456789, FetchedAt: time.Date(2025, 11, 24, 16, 0, 0, 123456789, time.UTC),
			CheckedAt: time.Date(2025, 11, 24, 17, 0, 0, 0, time.UTC), FreshUntil: time.Date(2025, 11, 24, 17, 10, 0, 0, time.UTC),
			ServeUntil: time.Date(2025, 11, 24, 18, 0, 0, 0, time.UTC), ExpiresAt: time.Date(2025, 11, 25, 0, 0, 0, 0, time.UTC),
		},
		Status: http.StatusOK,
		Header: http.Header{
			"Etag": {`"v1"`}, "Last-Modified": {"Mon, 24 Nov 2025 15:00:00 GMT"},
			"Cache-Control": {"max-age=600", "public"}, "Content-Type": {"application/json"},
		},
		Body: []byte(`{"keys":[]}` + "\x00\xff\n"),
	}
}

func recordBytes(t testing.TB, r *everfresh.Record) []byte {
	t.Helper()
	b, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recordEnvelope builds what a record is stored as, from any header.
func recordEnvelope(header, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("EVFR\x01"), uint32(len(header)))
	b = append(b, header...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	return recordSealed(append(b, body...))
}

// recordSealed appends the checksum to what stands before it.
func recordSealed(content []byte) []byte {
	sum := sha256.Sum256(content)
	return append(slices.Clip(content), sum[:]...)
}

// recordHeaderOf returns the header of an encoded record.
func recordHeaderOf(t testing.TB, b []byte) []byte {
	t.Helper()
	if len(b) < 9 || !bytes.HasPrefix(b, []byte("EVFR\x01")) {
		t.Fatalf("no record: %q", b)
	}
	n := binary.BigEndian.Uint32(b[5:])
	return b[9 : 9+n]
}

// recordDiff names the fields in which two records differ.
func recordDiff(a, b *everfresh.Record) (fields []string) {
	same := map[string]bool{
		"Key": a.Key == b.Key, "Version": a.Version == b.Version, "Status": a.Status == b.Status,
		"Header":    maps.EqualFunc(a.Header, b.Header, slices.Equal[[]string]),
		"Body":      bytes.Equal(a.Body, b.Body),
		"FetchedAt": a.FetchedAt.Equal(b.FetchedAt), "CheckedAt": a.CheckedAt.Equal(b.CheckedAt),
		"FreshUntil": a.FreshUntil.Equal(b.FreshUntil), "ServeUntil": a.ServeUntil.Equal(b.ServeUntil),
		"ExpiresAt": a.ExpiresAt.Equal(b.ExpiresAt),
	}
	for name, ok := range same {
		if !ok {
			fields = append(fields, name)
		}
	}
	return fields
}

func TestRecordGolden(t *testing.T) {
	if got := recordBytes(t, goldenRecord()); string(got) != goldenBytes {
		t.Errorf("encoded to\n%q\nwant\n%q", got, goldenBytes)
	}
	var rec everfresh.Record
	if err := rec.UnmarshalBinary([]byte(goldenBytes)); err != nil {
		t.Fatal(err)
	}
	if d := recordDiff(&rec, goldenRecord()); d != nil {
		t.Errorf("the golden bytes decode to other %v", d)
	}
}

// TestRecordLayout decodes by hand what the comment of MarshalBinary describes.
func TestRecordLayout(t *testing.T) {
	rec := goldenRecord()
	b := recordBytes(t, rec)
	if !bytes.Equal(b, recordEnvelope(recordHeaderOf(t, b), rec.Body)) {
		t.Error("the parts do not stand as documented")
	}
	var header map[string]any
	if err := json.Unmarshal(recordHeaderOf(t, b), &header); err != nil {
		t.Fatal(err)
	}
	if header["schema"] != 1.0 || header["key"] != rec.Key {
		t.Errorf("header = %v", header)
	}
}

func TestRecordRoundTrip(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)
	tests := map[string]*everfresh.Record{
		"zero":   {},
		"golden": goldenRecord(),
		"no bounds": {
			Key: "k", Info: everfresh.Info{Version: 1, FetchedAt: at, CheckedAt: at, FreshUntil: at}, Status: 200, Body: []byte("x"),
		},
		"empty body":      {Key: "k", Status: 203, Body: []byte{}},
		"large body":      {Key: "k", Body: bytes.Repeat([]byte("body "), 1<<18)},
		"body of records": {Key: "k", Body: recordBytes(t, goldenRecord())},
		"largest version": {Key: "k", Info: everfresh.Info{Version: math.MaxUint64}},
		"odd keys":        {Key: "\"<>&\\\n\r\t\x00 \u2028 ключ 鍵 \U0001F511"},
		"long key":        {Key: "https://a.test/?q=" + strings.Repeat("q", 1<<16)},
		"odd header": {Header: http.Header{
			"Etag": {`W/"<&>\\"`, ""}, "lower": {"kept as it is"},
		}},
		"far times": {Info: everfresh.Info{FetchedAt: time.Unix(0, math.MinInt64).UTC(), FreshUntil: time.Unix(0, math.MaxInt64).UTC()}},
		"other zone": {
			Info: everfresh.Info{FetchedAt: at.In(time.FixedZone("", 9*3600)), CheckedAt: at.In(time.FixedZone("", -12*3600+1800))},
		},
	}
	for name, rec := range tests {
		t.Run(name, func(t *testing.T) {
			b := recordBytes(t, rec)
			got := everfresh.Record{Key: "old", Info: everfresh.Info{Version: 9, ExpiresAt: at}, Header: http.Header{"Old": {"1"}}}
			if err := got.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if d := recordDiff(&got, rec); d != nil {
				t.Errorf("%v changed on the way", d)
			}
			if again := recordBytes(t, &got); len(again) != len(b) && rec.FetchedAt.Location() == time.UTC {
				t.Errorf("encoded again: %d bytes, were %d", len(again), len(b))
			}
		})
	}
}

// TestRecordChangesNoBytes: header values may hold any byte above 0x1f (RFC 9110, section
// 5.5), and a key or URL any at all. JSON holds text only: what it cannot hold may be
// refused, but not changed.
func TestRecordChangesNoBytes(t *testing.T) {
	for _, rec := range []*everfresh.Record{
		{Key: "k\xff\xfe"},
		{Header: http.Header{"Etag": {"\"caf\xe9\""}}},
		{Header: http.Header{"Etag": {"good", "\xff"}}},
	} {
		b, err := rec.MarshalBinary()
		if err != nil {
			continue
		}
		var got everfresh.Record
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if d := recordDiff(&got, rec); d != nil {
			t.Errorf("%v changed on the way: key %q, header %q", d, got.Key, got.Header)
		}
	}
}

// TestRecordKeepsUnknownFields rewrites the record of a newer program that has the
// same schema.
func TestRecordKeepsUnknownFields(t *testing.T) {
	const header = `{"schema":1,"key":"k","version":7,"status":200,"fetched_at":"2026-01-02T03:04:05Z",` +
		`"checked_at":"2026-01-02T03:04:05Z","fresh_until":"2026-01-02T04:04:05Z",` +
		`"token":12345678901234567890,"writer":{"id":"a<b","build":[1,2.50,null]},"rotated":true}`
	var rec everfresh.Record
	if err := rec.UnmarshalBinary(recordEnvelope([]byte(header), []byte("body"))); err != nil {
		t.Fatal(err)
	}
	again := recordHeaderOf(t, recordBytes(t, &rec))
	var got, want map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(again, &got), json.Unmarshal([]byte(header), &want)); err != nil {
		t.Fatal(err)
	}
	for name, value := range want {
		if !recordSameJSON(t, got[name], value) {
			t.Errorf("%s = %s after a rewrite, was %s", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("header has %d fields, want %d: %s", len(got), len(want), again)
	}
}

// recordSameJSON compares JSON values; numbers must be spelled the same.
func recordSameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	if a == nil || b == nil {
		return false
	}
	var texts [2]string
	for i, raw := range []json.RawMessage{a, b} {
		var v any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		texts[i] = fmt.Sprintf("%#v", v)
	}
	return texts[0] == texts[1]
}

// TestRecordFieldsWinOverUnknownOnes: JSON field names match in any case, so an
// unknown field that differs in case only must not come back as the known one.
func TestRecordFieldsWinOverUnknownOnes(t *testing.T) {
	for _, header := range []string{
		`{"schema":1,"key":"a","Key":"b"}`,
		`{"schema":1,"KEY":"b","key":"a"}`,
		`{"schema":1,"ſtatus":500,"status":200}`,
		`{"schema":1,"\u212aey":"b","key":"a"}`,
	} {
		var first, second everfresh.Record
		if err := first.UnmarshalBinary(recordEnvelope([]byte(header), nil)); err != nil {
			t.Fatal(err)
		}
		if err := second.UnmarshalBinary(recordBytes(t, &first)); err != nil {
			t.Fatal(err)
		}
		if d := recordDiff(&first, &second); d != nil {
			t.Errorf("%s: %v changed by a rewrite", header, d)
		}
	}
}

func TestRecordOfNewerSchema(t *testing.T) {
	for _, header := range []string{
		`{"schema":2,"key":"k"}`,
		`{"schema":1000000,"key":["another","form"]}`,
		`{"schema":2}`,
	} {
		rec := goldenRecord()
		err := rec.UnmarshalBinary(recordEnvelope([]byte(header), []byte("x")))
		if err == nil || errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: err = %v, want one that is not ErrCorrupt", header, err)
		}
		if d := recordDiff(rec, goldenRecord()); d != nil {
			t.Errorf("%s: a refused record changed %v", header, d)
		}
	}
}

// TestRecordOfNewerEnvelope: the last byte of the magic is the version of the
// envelope. One that is intact, but of a later version, is no damaged record.
func TestRecordOfNewerEnvelope(t *testing.T) {
	b := recordBytes(t, goldenRecord())
	content := b[:len(b)-sha256.Size]
	content[4] = 2
	err := new(everfresh.Record).UnmarshalBinary(recordSealed(content))
	if err == nil || errors.Is(err, store.ErrCorrupt) {
		t.Errorf("err = %v, want one that is not ErrCorrupt", err)
	}
}

func TestRecordRefusesOtherForms(t *testing.T) {
	for name, header := range map[string]string{
		"no JSON":          `{"schema":1`,
		"trailing JSON":    `{"schema":1}{}`,
		"null":             `null`,
		"list":             `[1]`,
		"empty":            ``,
		"no schema":        `{"key":"k"}`,
		"schema 0":         `{"schema":0}`,
		"negative schema":  `{"schema":-1}`,
		"schema no number": `{"schema":"1"}`,
		"key no text":      `{"schema":1,"key":7}`,
		"time no time":     `{"schema":1,"fetched_at":"yesterday secret"}`,
		"negative version": `{"schema":1,"version":-1}`,
	} {
		t.Run(name, func(t *testing.T) {
			rec := goldenRecord()
			err := rec.UnmarshalBinary(recordEnvelope([]byte(header), []byte("x")))
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("err = %v, want ErrCorrupt", err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("err = %v quotes the header", err)
			}
			if d := recordDiff(rec, goldenRecord()); d != nil {
				t.Errorf("a refused record changed %v", d)
			}
		})
	}
}

func TestRecordDetectsEveryFlip(t *testing.T) {
	b := recordBytes(t, goldenRecord())
	for i := range b {
		for bit := range 8 {
			damaged := bytes.Clone(b)
			damaged[i] ^= 1 << bit
			if err := new(everfresh.Record).UnmarshalBinary(damaged); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("bit %d of byte %d flipped: err = %v, want ErrCorrupt", bit, i, err)
			}
		}
	}
}

func TestRecordDetectsEveryTruncation(t *testing.T) {
	b := recordBytes(t, goldenRecord())
	for n := range len(b) {
		if err := new(everfresh.Record).UnmarshalBinary(b[:n]); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: err = %v, want ErrCorrupt", n, len(b), err)
		}
	}
	if err := new(everfresh.Record).UnmarshalBinary(append(b, 0)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("one byte more: err = %v, want ErrCorrupt", err)
	}
}

// TestRecordRefusesAbsurdLengths seals lengths that do not fit what there is.
func TestRecordRefusesAbsurdLengths(t *testing.T) {
	header := []byte(`{"schema":1}`)
	content := func(headerLen uint32, header []byte, bodyLen uint64, body string) []byte {
		b := binary.BigEndian.AppendUint32([]byte("EVFR\x01"), headerLen)
		b = append(b, header...)
		b = binary.BigEndian.AppendUint64(b, bodyLen)
		return recordSealed(append(b, body...))
	}
	n := uint32(len(header))
	if err := new(everfresh.Record).UnmarshalBinary(content(n, header, 4, "body")); err != nil {
		t.Fatalf("the right lengths: %v", err)
	}
	long := bytes.Repeat([]byte(" "), 1<<20+1)
	copy(long, header)
	for name, b := range map[string][]byte{
		"header too long":           content(n+13, header, 4, "body"),
		"header up to the body":     content(n+12, header, 4, "body"),
		"header too short":          content(n-1, header, 4, "body"),
		"header of 4 GiB":           content(math.MaxUint32, header, 4, "body"),
		"header of 2 GiB":           content(math.MaxInt32, header, 4, "body"),
		"no header":                 content(0, header, 4, "body"),
		"header over its limit":     content(uint32(len(long)), long, 4, "body"),
		"body too long":             content(n, header, 5, "body"),
		"body too short":            content(n, header, 3, "body"),
		"body of 16 EiB":            content(n, header, math.MaxUint64, "body"),
		"body of 8 EiB":             content(n, header, math.MaxInt64, "body"),
		"body that wraps around":    content(n, header, math.MaxUint64-7, "body"),
		"only magic and checksum":   recordSealed([]byte("EVFR\x01")),
		"nothing after the header":  recordSealed(append(binary.BigEndian.AppendUint32([]byte("EVFR\x01"), n), header...)),
		"nothing but zeros":         make([]byte, 100),
		"lengths of zero and no ck": append([]byte("EVFR\x01"), make([]byte, 44)...),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := new(everfresh.Record).UnmarshalBinary(b)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("err = %v, want ErrCorrupt", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("decoding allocated %d bytes", got)
			}
		})
	}
}

func TestRecordEncodingRefusesHugeHeader(t *testing.T) {
	rec := &everfresh.Record{Key: strings.Repeat("k", 1<<20)}
	if _, err := rec.MarshalBinary(); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("err = %v, want ErrTooLarge", err)
	}
	if _, err := (&everfresh.Record{Info: everfresh.Info{FetchedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}).MarshalBinary(); err == nil {
		t.Error("a year of five digits was encoded")
	}
}

func TestRecordDoesNotAliasInput(t *testing.T) {
	b := recordBytes(t, goldenRecord())
	var rec everfresh.Record
	if err := rec.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if d := recordDiff(&rec, goldenRecord()); d != nil {
		t.Errorf("%v changed with the input", d)
	}
	// And the other way round: what was encoded does not change with the record.
	b = recordBytes(t, &rec)
	want := bytes.Clone(b)
	clear(rec.Body)
	if !bytes.Equal(b, want) {
		t.Error("the encoded record changed with the body")
	}
}

func TestRecordTextsShowNothing(t *testing.T) {
	const canary = "s3cr3t"
	rec := &everfresh.Record{Key: "k", Header: http.Header{"Etag": {canary}}, Body: []byte(canary), Info: everfresh.Info{Version: 7}}
	var decoded everfresh.Record // holds unknown fields, too
	header := `{"schema":1,"key":"k","version":7,"header":{"Etag":["` + canary + `"]},"new":"` + canary + `"}`
	if err := decoded.UnmarshalBinary(recordEnvelope([]byte(header), []byte(canary))); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", slog.Any("rec", rec))
	texts := map[string]string{
		"String": rec.String(), "%v": fmt.Sprintf("%v", rec), "%+v": fmt.Sprintf("%+v", rec), "%#v": fmt.Sprintf("%#v", rec),
		"%q":         fmt.Sprintf("%q", rec),
		"decoded %v": fmt.Sprintf("%v", &decoded), "decoded %+v": fmt.Sprintf("%+v", &decoded), "decoded %#v": fmt.Sprintf("%#v", &decoded),
		"slice": fmt.Sprintf("%v", []*everfresh.Record{rec}), "slog": log.String(),
	}
	for verb, text := range texts {
		if strings.Contains(text, canary) || strings.Contains(text, fmt.Sprintf("%d", []byte(canary))) {
			t.Errorf("%s shows the record: %s", verb, text)
		}
	}
	if !strings.Contains(rec.String(), "version 7") || !strings.Contains(rec.String(), "6 bytes") {
		t.Errorf("String() = %q tells neither version nor size", rec)
	}
}

// TestRecordTextsShowNothingOfAValue prints records that are no pointers, and with
// verbs that have no business with them.
func TestRecordTextsShowNothingOfAValue(t *testing.T) {
	const canary = "s3cr3t"
	rec := everfresh.Record{Key: "k", Header: http.Header{"Etag": {canary}}, Body: []byte(canary)}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("value", rec), slog.Any("pointer", &rec))
	texts := map[string]string{"slog as JSON": log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for name, v := range map[string]any{"value": rec, "pointer": &rec, "field": struct{ R everfresh.Record }{rec}} {
			texts[verb+" of a "+name] = fmt.Sprintf(verb, v)
		}
	}
	forms := []string{
		canary, strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"), hex.EncodeToString([]byte(canary)),
		base64.StdEncoding.EncodeToString([]byte(canary)), "0x73, 0x33",
	}
	for name, text := range texts {
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
			t.Errorf("%s shows the record: %s", name, text)
		}
	}
}

func FuzzRecord(f *testing.F) {
	golden := recordBytes(f, goldenRecord())
	f.Add(golden, []byte("body"), "key", uint64(1), int64(1764000000123456789))
	f.Add(recordHeaderOf(f, golden), []byte(nil), "ключ\x00", uint64(math.MaxUint64), int64(-1))
	f.Add([]byte(`{"schema":1,"new":{"a":1e400,"b":"\ud800"},"Key":"x","kEy":"y"}`), []byte{0}, "\"<>&\u2028", uint64(0), int64(math.MaxInt64))
	f.Add([]byte(`{"schema":2}`), []byte{}, "", uint64(0), int64(math.MinInt64))
	f.Add([]byte(`{"schema":1,"schema":2,"header":{"Etag":null},"expires_at":"0000-01-01T00:00:00Z"}`), []byte{}, "", uint64(0), int64(0))
	f.Fuzz(func(t *testing.T, raw, body []byte, key string, version uint64, nanos int64) {
		fuzzDecode(t, raw)
		fuzzDecode(t, recordEnvelope(raw, body))
		at := time.Unix(0, nanos)
		rec := &everfresh.Record{
			Key: strings.ToValidUTF8(key, "?"),
			Info: everfresh.Info{
				Version: version, FetchedAt: at,
				CheckedAt: at.Add(1), FreshUntil: at.Add(-1),
				ServeUntil: at, ExpiresAt: at,
			},
			Status: int(int16(nanos)), Body: body,
			Header: http.Header{"Etag": {strings.ToValidUTF8(key, "?"), ""}},
		}
		b, err := rec.MarshalBinary()
		if errors.Is(err, store.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var got everfresh.Record
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if d := recordDiff(&got, rec); d != nil {
			t.Errorf("%v changed on the way", d)
		}
	})
}

// fuzzDecode decodes anything; what it can decode must survive being encoded.
func fuzzDecode(t *testing.T, b []byte) {
	t.Helper()
	var first, second everfresh.Record
	if err := first.UnmarshalBinary(b); err != nil {
		return
	}
	again, err := first.MarshalBinary()
	if err != nil {
		t.Fatalf("decoded, but not encoded: %v", err)
	}
	if err := second.UnmarshalBinary(again); err != nil {
		t.Fatal(err)
	}
	if d := recordDiff(&first, &second); d != nil {
		t.Errorf("%v changed by a rewrite", d)
	}
	if third := recordBytes(t, &second); !bytes.Equal(again, third) {
		t.Errorf("rewritten twice:\n%q\n%q", again, third)
	}
}
