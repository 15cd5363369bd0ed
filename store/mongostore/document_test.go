package mongostore

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/everfresh-go/everfresh/store"
)

// FuzzKeys proves that keys come back from their encoding, that it keeps their order,
// and that the range of a prefix has the keys that begin with it and no others.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"", "\x00", "a", "a\xff", "b", "\xc3\xa9", "\xff", "\xff\xff", strings.Repeat("\xff", store.MaxKeyLen)} {
		f.Add(key, "a")
		f.Add(key, "\xff")
		f.Add("", key)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if got, err := decodeKey(encodeKey(a)); err != nil || got != a {
			t.Errorf("%q comes back as %q, %v", a, got, err)
		}
		if got, want := strings.Compare(encodeKey(a), encodeKey(b)), strings.Compare(a, b); got != want {
			t.Errorf("the encodings of %q and %q compare as %d, want %d", a, b, got, want)
		}
		if got, want := inRange(encodeKey(a), byPrefix(b)), strings.HasPrefix(a, b); got != want {
			t.Errorf("%q is in the range of prefix %q: %t, want %t", a, b, got, want)
		}
		if inRange(encodeKey(a), byPrefixAfter("", a)) || inRange(encodeKey(b), byPrefixAfter("", a)) != (b > a) {
			t.Errorf("the range after %q is wrong about it or %q", a, b)
		}
	})
}

// inRange does what the server does with the filter of a range.
func inRange(id string, filter bson.D) bool {
	bounds, _ := filter[0].Value.(bson.D)
	from, _ := bounds[0].Value.(string)
	end, _ := bounds[1].Value.(string)
	return (id > from || id == from && bounds[0].Key == "$gte") && id < end && bounds[1].Key == "$lt"
}

// FuzzDecodeKey tries values that other programs may have used as an _id.
func FuzzDecodeKey(f *testing.F) {
	for _, id := range []string{"", "6b", "6B", "6", "6g", " 6b", "ff", "é", "6b\x00"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		key, err := decodeKey(id)
		if err == nil && encodeKey(key) != id {
			t.Errorf("%q is taken for the _id of %q, which is %q", id, key, encodeKey(key))
		}
		if err != nil && (!errors.Is(err, errForeign) || key != "") {
			t.Errorf("decodeKey(%q) = %q, %v, want %v", id, key, err, errForeign)
		}
	})
}

func TestDocumentRoundTrip(t *testing.T) {
	for name, value := range map[string][]byte{"nil": nil, "empty": {}, "bytes": []byte("\x00v\xff"), "long": bytes.Repeat([]byte("v"), 1<<20)} {
		t.Run(name, func(t *testing.T) {
			version := newVersion()
			raw, err := bson.Marshal(encode("k", value, version))
			if err != nil {
				t.Fatal(err)
			}
			item, err := decode("k", raw)
			if err != nil || item.Key != "k" || item.Version != version || !bytes.Equal(item.Value, value) {
				t.Errorf("decode = %.80v, %v, want version %q", item, err, version)
			}
			info, err := decodeInfo(raw)
			if want := (store.Meta{Key: "k", Version: version, Size: int64(len(value))}); err != nil || info != want {
				t.Errorf("decodeMeta = %+v, %v, want %+v", info, err, want)
			}
			clear(raw) // the driver may use the message again
			if !bytes.Equal(item.Value, value) {
				t.Error("the value is not a copy")
			}
		})
	}
}

// TestLargestDocument proves that the room beside the value is enough.
func TestLargestDocument(t *testing.T) {
	key := strings.Repeat("k", store.MaxKeyLen)
	raw, err := bson.Marshal(encode(key, make([]byte, maxValue), newVersion()))
	if err != nil || len(raw) > 16<<20 {
		t.Errorf("the largest document has %d bytes, %v, want at most %d", len(raw), err, 16<<20)
	}
}

// TestVersions proves that a version is text and random to its end.
func TestVersions(t *testing.T) {
	seen := make(map[store.Version]bool)
	for range 1000 {
		version := newVersion()
		if len(version) != 26 || seen[version] {
			t.Fatalf("version %q is not of 26 letters and digits, or came twice", version)
		}
		seen[version] = true
	}
}

// TestByVersion proves that a version which is not text asks for nothing that is there.
func TestByVersion(t *testing.T) {
	for version, want := range map[store.Version]string{"v": "v", "": "", "\xff": "", "v\xff": ""} {
		filter := byVersion("k", version)
		if !slices.Equal(filter, bson.D{{Key: fieldID, Value: "6b"}, {Key: fieldVersion, Value: want}}) {
			t.Errorf("version %q: the filter is %v, want %q", version, filter, want)
		}
	}
}
