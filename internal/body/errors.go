package body

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
)

// errTrailer replaces a [textproto.ProtocolError], which quotes what the origin sent.
var errTrailer = errors.New("reading the body: malformed trailer")

// cutTrailer is the text of an error that net/http does not export: the
// connection ended after the last chunk and before the end of the message.
const cutTrailer = "http: unexpected EOF reading trailer"

// explain turns an error of decoding into one that Read documents.
func (r *reader) explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrTruncated):
		return err
	case r.wire.failed() && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.ErrUnexpectedEOF), err.Error() == cutTrailer:
		return ErrTruncated
	case damaged(err):
		return fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	var quoting textproto.ProtocolError
	if errors.As(err, &quoting) {
		return errTrailer
	}
	return fmt.Errorf("reading the body: %w", err)
}

// damaged reports whether err says that gzip data is invalid.
func damaged(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}
