// Package redact rebuilds errors of net/http so that their texts hold nothing of the
// URL, the request or the answer.
//
// *url.Error quotes the whole URL, a refused Location quotes the redirect's target,
// and a malformed response quotes itself; any of them can hold a secret. Deleting
// the URL from the text would not do, as it may appear there in another encoding.
package redact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
)

// A TransportError is a failure of the transport in words known to be harmless. It is
// used as a pointer and satisfies net.Error.
type TransportError struct {
	text    string
	timeout bool
	cause   error // one of the sentinels, or nil
}

// Error implements error.
func (e *TransportError) Error() string { return e.text }

// Unwrap returns the condition that the failure amounts to, such as io.EOF, or nil.
func (e *TransportError) Unwrap() error { return e.cause }

// Timeout tells whether the failure was a time limit.
func (e *TransportError) Timeout() bool { return e.timeout }

// Temporary implements net.Error.
func (e *TransportError) Temporary() bool { return e.timeout }

// Foreign returns err as it is, unless it holds a *url.Error, which quotes a URL, or a
// text of net/http that quotes the answer. Then it is rebuilt as by [Error], and
// errors.Is, but not errors.As, finds in it what it found before. It is for errors of
// code that is not net/http's own and whose words are its author's.
func Foreign(err error) error {
	if err == nil {
		return nil
	}
	var ue *url.Error
	if errors.As(err, &ue) || quotes(err.Error()) {
		return &rebuilt{error: Error(err), was: err}
	}
	return err
}

// A rebuilt error has the conditions of the one that it replaces, whose text must not be
// seen.
type rebuilt struct {
	error
	was error // not for Unwrap
}

// Unwrap returns the error that may be seen.
func (e *rebuilt) Unwrap() error { return e.error }

// Is reports whether target is found in what was.
func (e *rebuilt) Is(target error) bool { return errors.Is(e.was, target) }

// GoString keeps %#v from showing what was.
func (e *rebuilt) GoString() string { return e.Error() }

// Error rebuilds an error that came from net/http. Conditions and types whose texts
// are harmless are kept, so that errors.Is and errors.As still find them; so are the
// errors of the caller's own that are marked with [Own]. Error(nil) is nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	inner, parsing := innermost(err)
	if parsing {
		return &TransportError{text: "invalid URL"}
	}
	if inner == nil {
		return &TransportError{text: "transport failed"}
	}
	if safe := safeError(inner); safe != nil {
		return safe
	}
	var ne net.Error
	if errors.As(inner, &ne) && ne.Timeout() {
		return &TransportError{text: "timeout", timeout: true}
	}
	return &TransportError{text: fmt.Sprintf("transport failed (%T)", inner)}
}

// innermost takes err out of every *url.Error. It reports whether the last one came
// from parsing a URL, whose error quotes it, too.
func innermost(err error) (inner error, parsing bool) {
	for {
		var ue *url.Error
		if !errors.As(err, &ue) {
			return err, parsing
		}
		if ue == nil {
			return nil, parsing
		}
		err, parsing = ue.Err, ue.Op == "parse"
	}
}

// own marks an error whose text its maker vouches for.
type own struct{ error }

func (e own) Unwrap() error { return e.error }

// Own marks err as harmless, so that it passes [Error] as it is.
func Own(err error) error { return own{err} }

// safeError returns the part of err whose text is known to be harmless, or nil.
func safeError(err error) error {
	var mine own
	if errors.As(err, &mine) {
		return mine.error
	}
	if known := knownError(err); known != nil {
		return known
	}
	if sentinel := sentinelOf(err); sentinel != nil {
		return sentinel
	}
	for _, find := range finders {
		if found := find(err); found != nil {
			return found
		}
	}
	return nil
}

var sentinels = []error{
	context.Canceled, context.DeadlineExceeded,
	io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, http.ErrSchemeMismatch,
}

func sentinelOf(err error) error {
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return nil
}

// knownTexts are constant parts of the texts of net/http, its HTTP/2 and crypto/tls.
var knownTexts = []string{
	"TLS handshake timeout",
	"timeout awaiting response headers",
	"Client.Timeout exceeded",
	"server gave HTTP response to HTTPS client",
	"server closed idle connection",
	"server response headers exceeded",
	"response header list larger than advertised limit",
	"too many 1xx informational responses",
	"malformed HTTP response",
	"malformed HTTP status code",
	"malformed HTTP version",
	"malformed MIME header",
	"failed to parse Location header",
	"too many transfer encodings",
	"unsupported transfer encoding",
	"invalid empty Content-Length",
	"bad Content-Length",
	"multiple Content-Length headers",
	"bad trailer key",
	"unsupported protocol scheme",
	"no Host in request URL",
	"invalid method",
	"invalid header field",
	"stream error",
	"server sent GOAWAY",
	"http2: connection error",
	"client connection lost",
	"request canceled",
	"server selected unsupported protocol version",
}

// knownError returns an error with the first known text in err's. What a text quotes
// follows its constant part, so that an answer cannot choose which one that is.
func knownError(err error) error {
	text := err.Error()
	first, known := len(text), ""
	for _, candidate := range knownTexts {
		if i := strings.Index(text, candidate); i >= 0 && i < first {
			first, known = i, candidate
		}
	}
	if known == "" {
		return nil
	}
	return &TransportError{text: known, timeout: strings.Contains(known, "imeout"), cause: sentinelOf(err)}
}

// quotingTexts are those of knownTexts that what the origin sent follows, with what
// stands between them.
var quotingTexts = []string{
	`malformed HTTP response "`,
	`malformed HTTP status code "`,
	`malformed HTTP version "`,
	`malformed MIME header line: "`,
	`malformed MIME header initial line: "`,
	`malformed MIME header: missing colon: "`,
	`failed to parse Location header "`,
	`too many transfer encodings: [`,
	`unsupported transfer encoding: "`,
	`bad Content-Length "`,
	`multiple Content-Length headers; got [`,
	`bad trailer key "`,
	`unsupported protocol scheme "`,
	`server sent GOAWAY and closed the connection; `,
}

// quotes reports whether text is one that [Error] would not have left so.
func quotes(text string) bool {
	for _, quoting := range quotingTexts {
		if strings.Contains(text, quoting) {
			return true
		}
	}
	return false
}

// finders look for types that tell of hosts, certificates and system calls only.
var finders = []func(error) error{
	as[*TransportError], as[*net.DNSError], as[*os.SyscallError], as[syscall.Errno],
	as[*tls.CertificateVerificationError],
	as[x509.UnknownAuthorityError], as[x509.HostnameError], as[x509.CertificateInvalidError],
	recordError, alertError,
}

func as[E error](err error) error {
	var found E
	if !errors.As(err, &found) {
		return nil
	}
	return found
}

// recordError keeps the text of a tls.RecordHeaderError, which also holds the bytes.
func recordError(err error) error {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) {
		return nil
	}
	return &TransportError{text: "tls: " + record.Msg}
}

// alertError keeps the name of a TLS alert, ours or the server's. Its type is not
// exported.
func alertError(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || fmt.Sprintf("%T", op.Err) != "tls.alert" {
		return nil
	}
	return &TransportError{text: op.Op + ": " + op.Err.Error()}
}
