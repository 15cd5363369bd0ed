package filestore

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// FuzzRecord: any bytes are a record or damaged, and there is one way to write a
// record.
func FuzzRecord(f *testing.F) {
	for _, value := range []string{"", "value"} {
		f.Add("k", append(newHeader("k", []byte(value)).encode(), value...))
	}
	f.Add("", []byte(magic))
	f.Fuzz(func(t *testing.T, key string, file []byte) {
		r := bytes.NewReader(file)
		h, err := readHeader(r, fileName(key), int64(len(file)))
		var value []byte
		if err == nil {
			value, err = h.readValue(r)
		}
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		if again := slices.Concat(h.encode(), value); h.key != key || !bytes.Equal(again, file) {
			t.Errorf("%x is read as key %q, and written as %x", file, h.key, again)
		}
	})
}
