// Package scrub rebuilds errors of net/http so that their texts hold nothing of the
// URL, the request or the answer.
//
// *url.Error quotes the whole URL, a refused Location quotes the redirect's target,
// and a malformed response quotes itself; any of them can hold a secret. Deleting
// the URL from the text would not do, as it may appear there in another encoding.
package scrub

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
}

// Error implements error.
func (e *TransportError) Error() string { return e.text }

// Timeout tells whether the failure was a time limit.
func (e *TransportError) Timeout() bool { return e.timeout }

// Temporary implements net.Error.
func (e *TransportError) Temporary() bool { return e.timeout }

// Foreign returns err as it is, unless it holds a *url.Error, which quotes a URL. It
// is for errors of code that is not net/http's own and whose words are its author's.
func Foreign(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return Error(ue)
	}
	return err
}

// Error rebuilds an error that came from net/http. Conditions and types whose texts
// are harmless are kept, so that errors.Is and errors.As still find them; so are the
// errors of the caller's own that are marked with [Own].
func Error(err error) error {
	for {
		var ue *url.Error
		if !errors.As(err, &ue) {
			break
		}
		err = ue.Err
	}
	if safe := safeError(err); safe != nil {
		return safe
	}
	text := err.Error()
	for _, known := range knownTexts {
		if strings.Contains(text, known) {
			return &TransportError{text: known, timeout: strings.Contains(known, "time")}
		}
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return &TransportError{text: "timeout", timeout: true}
	}
	return &TransportError{text: fmt.Sprintf("transport failed (%T)", err)}
}

// knownTexts are constant texts of net/http and its HTTP/2.
var knownTexts = []string{
	"TLS handshake timeout",
	"timeout awaiting response headers",
	"Client.Timeout exceeded",
	"server gave HTTP response to HTTPS client",
	"server closed idle connection",
	"server response headers exceeded",
	"too many 1xx informational responses",
	"malformed HTTP response",
	"malformed HTTP status code",
	"malformed HTTP version",
	"malformed MIME header",
	"failed to parse Location header",
	"Location header",
	"unsupported transfer encoding",
	"bad Content-Length",
	"unsupported protocol scheme",
	"no Host in request URL",
	"invalid header field",
	"stream error",
	"server sent GOAWAY",
	"client connection lost",
	"connection broken",
	"request canceled",
}

// own marks an error whose text its maker vouches for.
type own struct{ error }

func (e own) Unwrap() error { return e.error }

// Own marks err as harmless, so that it passes [Error] as it is.
func Own(err error) error { return own{err} }

var sentinels = []error{
	context.Canceled, context.DeadlineExceeded,
	io.ErrUnexpectedEOF, io.EOF, net.ErrClosed, http.ErrSchemeMismatch,
}

// safeError returns the part of err whose text is known to be harmless, or nil.
func safeError(err error) error {
	var mine own
	if errors.As(err, &mine) {
		return mine.error
	}
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	for _, find := range finders {
		if found := find(err); found != nil {
			return found
		}
	}
	return nil
}

// finders look for types that tell of hosts, certificates and system calls only.
var finders = []func(error) error{
	as[*TransportError], as[*net.DNSError], as[*os.SyscallError], as[syscall.Errno],
	as[*tls.CertificateVerificationError], as[tls.AlertError],
	as[x509.UnknownAuthorityError], as[x509.HostnameError], as[x509.CertificateInvalidError],
	func(err error) error {
		var record tls.RecordHeaderError
		if !errors.As(err, &record) {
			return nil
		}
		return &TransportError{text: "tls: " + record.Msg} // its own text is the same, it also holds the bytes
	},
}

func as[E error](err error) error {
	var found E
	if !errors.As(err, &found) {
		return nil
	}
	return found
}
