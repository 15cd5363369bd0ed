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

// An Error is a failure of the database. It Is [store.ErrUnavailable] if it is
// temporary: no connection, no primary, no majority, a server that starts or stops.
// It Is [store.ErrCorrupt] if the document is not one of this package. It leaves out
// the driver's error, which may quote keys and values.
type Error struct {
	Op   string // what failed: load, store, delete, list or ping
	Code int    // the server's code; 0 if the error is not the server's

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

// meanings has the codes that an operator can do something about; see
// https://www.mongodb.com/docs/manual/reference/error-codes/.
var meanings = map[int]string{
	13:    "permission denied",
	18:    "the server refuses this user",
	26:    "no such collection",
	50:    "the server's time limit for an operation",
	64:    "the majority did not answer",
	73:    "the name of the database or the collection is not valid",
	91:    "the server is stopping",
	100:   "there are not enough servers for a majority",
	121:   "a validator of the collection refuses the document",
	166:   "the collection is a view",
	10107: "the server is not the primary",
	11000: "another unique index of the collection has this document",
	11600: "the server is stopping",
	13435: "the server is not the primary",
	14031: "the disk is full",
}

// temporary has the codes of errors that pass by themselves.
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

// temporaryLabels are those with which a server or the driver says the same.
var temporaryLabels = []string{"NetworkError", "RetryableWriteError", "SystemOverloadedError", "TransientTransactionError"}

// classify returns what a call reports for the error of the driver: nothing in its
// text comes from a document.
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

// near is how long before a deadline the driver may give up: when the time left is
// shorter than its fastest round trip.
const near = time.Second

// ended returns the error of ctx, also if its deadline has passed and its timer has not
// fired yet, or if the driver gave up because it would pass.
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

// ofDriver has no error of the driver's in it.
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

// codeOf returns the server's code, or 0. A write is unconfirmed if the primary has
// done it and the majority did not say so.
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

// connectionFailed reports whether err is about the connection, and not the answer of
// a server. Retryable has the error of a pool whose connections were just closed.
func connectionFailed(err error) bool {
	var netErr net.Error
	var pool interface{ Retryable() bool }
	return errors.As(err, &netErr) || errors.As(err, &pool) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// duplicateIsMissed turns the error of a write that found its key present, and did
// nothing, into errMissed.
func duplicateIsMissed(err error) error {
	const duplicateKey = 11000
	if code, _ := codeOf(err); code == duplicateKey { // one that is unconfirmed has another
		return errMissed
	}
	return err
}
