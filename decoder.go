package everfresh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/everfresh-go/everfresh/internal/refreshctx"
)

// A Decoder makes a value from a good response (200 or 203). The body is in memory,
// bounded and decompressed; the decoder may keep it and need not close it. ctx ends with
// the refresh. [Received] tells from ctx when the answer came and which value it replaces,
// and a value that the decoder needs from another resource is read with ctx, too.
//
// An error rejects the response: the old value stays, and [Permanent] and [RetryAfter]
// say when the origin is asked again. A panic is an error of that refresh. Values must be
// safe for concurrent reading. A value with a method ExpiresAt() time.Time sets its own
// expiry.
type Decoder[T any] func(ctx context.Context, resp *http.Response) (T, error)

// JSON returns a decoder of one JSON value. Anything but white space after it is an
// error. Error texts contain no part of the document.
func JSON[T any]() Decoder[T] {
	return func(_ context.Context, resp *http.Response) (T, error) {
		var v, zero T
		data, err := bodyOf(resp)
		if err != nil {
			return zero, err
		}
		if err := json.Unmarshal(data, &v); err != nil {
			return zero, redactJSON(err)
		}
		return v, nil
	}
}

// redactJSON keeps the part of a JSON error that says where it happened, and drops what
// the document says.
func redactJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("invalid JSON at byte %d", syntax.Offset)
	}
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		return fmt.Errorf("JSON at byte %d does not fit Go type %v", typed.Offset, typed.Type)
	}
	return fmt.Errorf("JSON refused by the value's type (%T)", err)
}

// Bytes returns a decoder that yields the body itself, also an empty one.
func Bytes() Decoder[[]byte] { return decodeBytes }

func decodeBytes(_ context.Context, resp *http.Response) ([]byte, error) { return bodyOf(resp) }

// isBytes reports whether decode is the decoder of [Bytes].
func isBytes[T any](decode Decoder[T]) bool {
	return reflect.ValueOf(decode).Pointer() == reflect.ValueOf(decodeBytes).Pointer()
}

// A Transformer makes the value of an untyped resource, as in httprc v1. It is given the
// registered URL and a good response, whose body is in memory and need not be closed.
type Transformer interface {
	Transform(url string, resp *http.Response) (any, error)
}

// TransformFunc is a function that is a [Transformer].
type TransformFunc func(url string, resp *http.Response) (any, error)

// Transform implements [Transformer].
func (f TransformFunc) Transform(url string, resp *http.Response) (any, error) { return f(url, resp) }

// A receipt is what the context of a refresh knows about the answer being decoded.
type receipt interface {
	receipt() (at time.Time, prev *Snapshot[any])
}

// Received tells a [Decoder] when its response was received, which for a stored record
// was before the program started, and which value it is to replace, or nil. Outside a
// decoder the time is zero.
func Received(ctx context.Context) (at time.Time, prev *Snapshot[any]) {
	if r, ok := ctx.Value(refreshctx.Key{}).(receipt); ok {
		return r.receipt()
	}
	return time.Time{}, nil
}

// A memoryBody is a response body that has been read into memory.
type memoryBody struct {
	bytes.Reader
	data []byte
}

// Close implements io.Closer.
func (*memoryBody) Close() error { return nil }

// memoryResponse makes data the body of resp, in the form that decoders get.
func memoryResponse(resp *http.Response, data []byte) *http.Response {
	mb := &memoryBody{data: data}
	mb.Reset(data)
	resp.Body = mb
	resp.ContentLength = int64(len(data))
	if resp.Header.Get("Content-Encoding") != "" {
		resp.Header = resp.Header.Clone() // middleware may hold on to it
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.Uncompressed = true
	}
	return resp
}

// bodyOf returns the whole body of a response that a decoder was given, without a copy if
// the engine made it.
func bodyOf(resp *http.Response) ([]byte, error) {
	if mb, ok := resp.Body.(*memoryBody); ok && mb.Len() == len(mb.data) {
		return mb.data, nil
	}
	return io.ReadAll(resp.Body)
}
