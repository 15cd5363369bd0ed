package mongostore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/everfresh-go/everfresh/store"
)

// An Error is a failure of the database. It wraps [store.ErrUnavailable] if the failure
// is temporary: no connection, no primary, no majority, or a server that is starting or
// stopping. It wraps [store.ErrCorrupt] if a document was not written by this package.
// It leaves out the driver's error, which may quote keys and values.
type Error struct {
	Op   string // what failed: load, store, delete, list or ping
	Code int    // the server's error code; 0 if the error is not from the server

	meaning string
	class   error // store.ErrUnavailable, store.ErrCorrupt or nil
}

// Error implements error.
func (e *Error) Error() string {
	text := "mongostore: " + e.Op + ": "
	if e.class != nil {
		text += e.class.Error() + ": "
	}
	if e.Code == 0 {
		return text + e.meaning
	}
	text += fmt.Sprint("code ", e.Code)
	if e.meaning != "" {
		text += ", " + e.meaning
	}
	return text
}

// Unwrap returns [store.ErrUnavailable], [store.ErrCorrupt] or nil.
func (e *Error) Unwrap() error { return e.class }

// meanings has the codes on which an operator can act; see
// https://www.mongodb.com/docs/manual/reference/error-codes/.
var meanings = map[int]string{
	13:    "permission denied",
	18:    "the server rejected this user",
	26:    "no such collection",
	50:    "the server's time limit for an operation",
	64:    "the majority did not answer",
	73:    "the name of the database or the collection is invalid",
	91:    "the server is stopping",
	100:   "there are not enough servers for a majority",
	121:   "a validator of the collection rejected the document",
	166:   "the collection is a view",
	10107: "the server is not the primary",
	11000: "another unique index of the collection rejected the document",
	11600: "the server is stopping",
	13435: "the server is not the primary",
	14031: "the disk is full",
}

// temporary has the codes of errors that go away by themselves.
var temporary = map[int]bool{
	6: true, 7: true, 89: true, 9001: true, 202: true, 384: true, // the network between servers
	24: true, 46: true, 112: true, 251: true, // locks and other writes in the way
	50: true, 262: true, // time limits
	64: true, 100: true, 133: true, 134: true, // no majority, no primary
	91: true, 189: true, 10058: true, 10107: true, 11600: true, 11602: true, 13435: true, 13436: true, // fail-over
	63: true, 150: true, 13388: true, // sharding metadata that is out of date
	11601: true, 43: true, 237: true, // killed by an operator
	146: true, 462: true, // too many operations
}

// temporaryLabels are the labels with which a server or the driver marks such errors.
var temporaryLabels = []string{"NetworkError", "RetryableWriteError", "SystemOverloadedError", "TransientTransactionError"}

// classify returns the error that a call reports for an error of the driver. Its text
// contains nothing from a document.
func classify(ctx context.Context, op string, err error) error {
	if err == nil || errors.Is(err, errMissed) {
		return err
	}
	if over := ended(ctx, err); over != nil {
		return over
	}
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return store.ErrNotFound
	case errors.Is(err, mongo.ErrClientDisconnected):
		return store.ErrClosed
	case errors.Is(err, errForeign):
		return &Error{Op: op, meaning: errForeign.Error(), class: store.ErrCorrupt}
	}
	return ofDriver(op, err)
}

// near is how long before a deadline the driver may give up, because the time left is
// shorter than its fastest round trip.
const near = time.Second

// ended returns the error of ctx, or nil if ctx has not ended. A deadline counts as
// passed even if its timer has not fired yet, or if the driver gave up because it was
// about to pass.
func ended(ctx context.Context, err error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	left := time.Until(deadline)
	if left <= 0 || left < near && errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil
}

// ofDriver returns an Error for a failure of the driver, without the driver's text.
func ofDriver(op string, err error) error {
	const documentTooLarge = 10334
	code, unconfirmed := codeOf(err)
	switch {
	case code == documentTooLarge:
		return store.ErrTooLarge
	case unconfirmed || temporary[code] || labelled(err):
		return unavailable(op, code, meanings[code])
	case code != 0:
		return &Error{Op: op, Code: code, meaning: meanings[code]}
	case mongo.IsTimeout(err):
		return unavailable(op, 0, "no answer in time")
	case connectionFailed(err):
		return unavailable(op, 0, "no connection")
	}
	return &Error{Op: op, meaning: fmt.Sprintf("the driver failed with a %T", err)}
}

func unavailable(op string, code int, meaning string) *Error {
	if meaning == "" && code == 0 {
		meaning = "no connection"
	}
	return &Error{Op: op, Code: code, meaning: meaning, class: store.ErrUnavailable}
}

// codeOf returns the server's error code, or 0. A write is unconfirmed if the primary has
// done it but a majority has not confirmed it.
func codeOf(err error) (code int, unconfirmed bool) {
	if write := (mongo.WriteException{}); errors.As(err, &write) {
		if write.WriteConcernError != nil {
			return write.WriteConcernError.Code, true
		}
		if len(write.WriteErrors) > 0 {
			return write.WriteErrors[0].Code, false
		}
	}
	if command := (mongo.CommandError{}); errors.As(err, &command) {
		return int(command.Code), false
	}
	return 0, false
}

func labelled(err error) bool {
	labels := mongo.LabeledError(nil)
	if !errors.As(err, &labels) {
		return false
	}
	return slices.ContainsFunc(temporaryLabels, labels.HasErrorLabel)
}

// connectionFailed reports whether err is a failure of the connection rather than an
// answer of the server. A pool whose connections were just closed returns an error with
// the method Retryable.
func connectionFailed(err error) bool {
	var netErr net.Error
	var pool interface{ Retryable() bool }
	return errors.As(err, &netErr) || errors.As(err, &pool) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// duplicateIsMissed returns errMissed if err says that the write found its key present
// and did nothing; otherwise it returns err.
func duplicateIsMissed(err error) error {
	const duplicateKey = 11000
	if code, _ := codeOf(err); code == duplicateKey { // an unconfirmed write has another code
		return errMissed
	}
	return err
}
