package mongostore

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/everfresh-go/everfresh/store"
)

// The fields of a document.
const (
	fieldID      = "_id"
	fieldVersion = "version"
	fieldSize    = "size"
	fieldValue   = "value"
)

// afterDigits sorts after every hex digit.
const afterDigits = "g"

// errForeign says that a document was not made by encode.
var errForeign = errors.New("not a document of this package")

// encode returns the document of a value.
func encode(key string, value []byte, version store.Version) bson.D {
	return bson.D{
		{Key: fieldID, Value: encodeKey(key)},
		{Key: fieldVersion, Value: string(version)},
		{Key: fieldSize, Value: int64(len(value))},
		{Key: fieldValue, Value: bson.Binary{Data: value}},
	}
}

// decode returns the item of a document that was found by its key. The value is a
// copy, because the document is part of a message that the driver reuses.
func decode(key string, doc bson.Raw) (store.Item, error) {
	version, size, ok := decodeHead(doc)
	subtype, value, isBinary := doc.Lookup(fieldValue).BinaryOK()
	if !ok || !isBinary || subtype != bson.TypeBinaryGeneric || size != int64(len(value)) {
		return store.Item{}, errForeign
	}
	return store.Item{Key: key, Value: bytes.Clone(value), Version: version}, nil
}

// decodeInfo returns the Meta of a document that was read without its value.
func decodeInfo(doc bson.Raw) (store.Meta, error) {
	version, size, ok := decodeHead(doc)
	id, isString := doc.Lookup(fieldID).StringValueOK()
	key, err := decodeKey(id)
	if !ok || !isString || err != nil {
		return store.Meta{}, errForeign
	}
	return store.Meta{Key: key, Version: version, Size: size}, nil
}

func decodeHead(doc bson.Raw) (version store.Version, size int64, ok bool) {
	v, isString := doc.Lookup(fieldVersion).StringValueOK()
	size, isInt := doc.Lookup(fieldSize).Int64OK()
	return store.Version(v), size, isString && isInt && v != "" && size >= 0
}

func encodeKey(key string) string { return hex.EncodeToString([]byte(key)) }

func decodeKey(id string) (string, error) {
	key, err := hex.DecodeString(id)
	if err != nil || hex.EncodeToString(key) != id { // upper case: it would be a second _id for the same key
		return "", errForeign
	}
	return string(key), nil
}

// byKey is the filter for one document.
func byKey(key string) bson.D { return bson.D{{Key: fieldID, Value: encodeKey(key)}} }

// byVersion is the filter for one document with a version. BSON strings are UTF-8, and
// so is every version that a store has given; no document has any other version.
func byVersion(key string, version store.Version) bson.D {
	if !utf8.ValidString(string(version)) {
		version = ""
	}
	return append(byKey(key), bson.E{Key: fieldVersion, Value: string(version)})
}

// byPrefix is the filter for the documents whose keys begin with prefix, a range of
// the index on _id.
func byPrefix(prefix string) bson.D { return idRange("$gte", encodeKey(prefix), prefix) }

// byPrefixAfter is byPrefix restricted to keys after last.
func byPrefixAfter(prefix, last string) bson.D { return idRange("$gt", encodeKey(last), prefix) }

func idRange(above, id, prefix string) bson.D {
	return bson.D{{Key: fieldID, Value: bson.D{
		{Key: above, Value: id},
		{Key: "$lt", Value: encodeKey(prefix) + afterDigits},
	}}}
}

// withoutValue is the projection to the fields of [store.Meta].
func withoutValue() bson.D { return bson.D{{Key: fieldVersion, Value: 1}, {Key: fieldSize, Value: 1}} }

// newVersion returns a version that no item has had.
func newVersion() store.Version { return store.Version(rand.Text()) }
