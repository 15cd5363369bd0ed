// Package redact rebuilds errors of net/http so that their texts contain no part of the
// URL, the request or the response.
//
// A *url.Error quotes the whole URL, the error for an invalid Location quotes the target
// of the redirect, and the error for a malformed response quotes the response. Each of
// them can contain a secret. Deleting the URL from the text is not enough, because it may
// appear there in another encoding.
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

// A TransportError is a failure of the transport, with a text that is known to be
// harmless. Its pointer type implements net.Error.
type TransportError struct {
	text    string
	timeout bool
	cause   error // one of the sentinels, or nil
}

// Error implements error.
func (e *TransportError) Error() string { return e.text }

// Unwrap returns the sentinel for the failure, such as io.EOF, or nil if there is none.
func (e *TransportError) Unwrap() error { return e.cause }

// Timeout reports whether the failure was a timeout.
func (e *TransportError) Timeout() bool { return e.timeout }

// Temporary implements net.Error.
func (e *TransportError) Temporary() bool { return e.timeout }

// Foreign returns err unchanged, unless it wraps a *url.Error, which quotes a URL, or
// contains a text of net/http that quotes the response. Such an error is rebuilt as by
// [Error]: errors.Is still finds in it what it found before, but errors.As does not. Use
// Foreign for errors of code other than net/http, whose texts are the author's choice.
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

// A rebuilt error replaces one whose text must not be shown. It matches the same targets
// of errors.Is.
type rebuilt struct {
	error
	was error // the original, which Unwrap must not return
}

// Unwrap returns the error that may be shown.
func (e *rebuilt) Unwrap() error { return e.error }

// Is reports whether the original error matches target.
func (e *rebuilt) Is(target error) bool { return errors.Is(e.was, target) }

// GoString keeps %#v from printing the original.
func (e *rebuilt) GoString() string { return e.Error() }

// Error rebuilds an error that came from net/http. It keeps sentinels and types whose
// texts are harmless, so that errors.Is and errors.As still find them, and it keeps errors
// that the caller has marked with [Own]. Error(nil) is nil.
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

// innermost unwraps every *url.Error around err. It also reports whether the last one came
// from parsing a URL, because the error inside it quotes the URL, too.
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

// own marks an error whose text the code that made it knows to be harmless.
type own struct{ error }

func (e own) Unwrap() error { return e.error }

// Own marks err as harmless, so that [Error] returns it unchanged.
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

// knownError returns an error with the known text that comes first in err's text. A quoted
// part always follows the constant part, so a response cannot choose which one is found.
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

// quotingTexts are those of knownTexts after which net/http quotes what the origin sent,
// with the characters before the quotation.
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

// quotes reports whether text quotes what an origin sent, so that it came from net/http
// and not from [Error].
func quotes(text string) bool {
	for _, quoting := range quotingTexts {
		if strings.Contains(text, quoting) {
			return true
		}
	}
	return false
}

// finders look for types whose texts name only hosts, certificates and system calls.
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

// recordError keeps the text of a tls.RecordHeaderError but not the bytes that it holds.
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
