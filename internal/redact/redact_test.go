package redact_test

import (
	"bufio"
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
	"testing"

	"github.com/everfresh-go/everfresh/internal/redact"
)

const secret = "s3cr3tword"

// exchange sends a request for rawURL to an origin that answers with raw bytes, and
// returns the client's error.
func exchange(t *testing.T, rawURL, raw string) error {
	t.Helper()
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err == nil {
				_, _ = io.WriteString(server, raw)
			}
		}()
		return client, nil
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 4 << 10,
	}}
	resp, err := client.Get(rawURL)
	if err == nil {
		resp.Body.Close()
		t.Fatalf("no error, but %s", resp.Status)
	}
	return err
}

func TestErrorsOfNetHTTP(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name, raw, want string
	}{
		{"nothing", "", "EOF"},
		{"not HTTP", secret + "\r\n\r\n", "malformed HTTP response"},
		{"no status code", "HTTP/1.1 " + secret + "\r\n\r\n", "malformed HTTP status code"},
		{"version", "HTTP/" + secret + " 200 OK\r\n\r\n", "malformed HTTP version"},
		{"no colon", head + secret + "\r\n\r\n", "malformed MIME header"},
		{"leading space", head + " " + secret + ": x\r\n\r\n", "malformed MIME header"},
		{"length", head + "Content-Length: " + secret + "\r\n\r\n", "bad Content-Length"},
		{"no length", head + "Content-Length: \r\n\r\n", "invalid empty Content-Length"},
		{"two lengths", head + "Content-Length: 1\r\nContent-Length: " + secret + "\r\n\r\n", "multiple Content-Length headers"},
		{"transfer coding", head + "Transfer-Encoding: " + secret + "\r\n\r\n", "unsupported transfer encoding"},
		{"transfer codings", head + "Transfer-Encoding: a\r\nTransfer-Encoding: " + secret + "\r\n\r\n", "too many transfer encodings"},
		{"trailer", head + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", "bad trailer key"},
		{"endless header", head + strings.Repeat("X-A: "+secret+"\r\n", 1000), "server response headers exceeded"},
		{"cut header", head + "X-A: " + secret, "unexpected EOF"},
		{"location", "HTTP/1.1 302 Found\r\nLocation: http://a.test/%zz" + secret + "\r\n\r\n", "failed to parse Location header"},
		{"scheme of the location", "HTTP/1.1 302 Found\r\nLocation: " + secret + "://a.test/\r\n\r\n", "unsupported protocol scheme"},
		{
			"a text of another failure, quoted",
			head + "timeout awaiting response headers " + secret + "\r\n\r\n", "malformed MIME header",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := exchange(t, "http://a.test/?key="+secret, tt.raw)
			if !strings.Contains(raw.Error(), secret) {
				t.Fatalf("%q never held the secret: the test shows nothing", raw)
			}
			err := redact.Error(raw)
			if err.Error() != tt.want {
				t.Errorf("text %q, want %q (was %q)", err, tt.want, raw)
			}
			expectClean(t, err, secret)
			if again := redact.Error(err); again.Error() != err.Error() {
				t.Errorf("redacted again: %q, want %q", again, err)
			}
		})
	}
}

// expectClean fails the test if err or a cause of it shows the secret.
func expectClean(t *testing.T, err error, secret string) {
	t.Helper()
	for err != nil {
		for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
			if text := fmt.Sprintf(format, err); strings.Contains(text, secret) {
				t.Errorf("%s shows the secret: %s", format, text)
			}
		}
		err = errors.Unwrap(err)
	}
}

// A deadline tells of itself in three ways, with what it was for as its text.
func TestTimeouts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.test/"+secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, past := http.DefaultClient.Do(req)
	tests := []struct {
		name string
		err  error
		want string
		is   error
	}{
		{"context", past, "context deadline exceeded", context.DeadlineExceeded},
		{"phase", &url.Error{Op: "Get", URL: secret, Err: timeout("net/http: timeout awaiting response headers")}, "timeout awaiting response headers", context.DeadlineExceeded},
		{"client", &url.Error{Op: "Get", URL: secret, Err: timeout(secret + " (Client.Timeout exceeded while awaiting headers)")}, "Client.Timeout exceeded", context.DeadlineExceeded},
		{"handshake", &url.Error{Op: "Get", URL: secret, Err: timeout("net/http: TLS handshake timeout")}, "TLS handshake timeout", context.DeadlineExceeded},
		{"dial", &url.Error{Op: "Get", URL: secret, Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}}, "timeout", nil},
	}
	for _, tt := range tests {
		got := redact.Error(tt.err)
		var ne net.Error
		if got.Error() != tt.want || !errors.As(got, &ne) || !ne.Timeout() {
			t.Errorf("%s: %v, want the timeout %q", tt.name, got, tt.want)
		}
		if tt.is != nil && !errors.Is(got, tt.is) {
			t.Errorf("%s: %v is not %v", tt.name, got, tt.is)
		}
		expectClean(t, got, secret)
	}
}

// timeout is like net/http's own type.
type timeout string

func (e timeout) Error() string      { return string(e) }
func (timeout) Timeout() bool        { return true }
func (timeout) Is(target error) bool { return target == context.DeadlineExceeded }
func wrap(err error) error           { return fmt.Errorf(secret+": %w", err) }
func quoted(err error) error {
	return &url.Error{Op: "Get", URL: "http://a.test/?k=" + secret, Err: err}
}
func asErr[E error](err error) bool { var e E; return errors.As(err, &e) }
func isErr(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

// Conditions and types stay, whatever they were wrapped in.
func TestHarmlessErrorsStay(t *testing.T) {
	tests := []struct {
		err       error
		want      string
		unchanged func(error) bool
	}{
		{context.Canceled, "context canceled", isErr(context.Canceled)},
		{io.ErrUnexpectedEOF, "unexpected EOF", isErr(io.ErrUnexpectedEOF)},
		{net.ErrClosed, net.ErrClosed.Error(), isErr(net.ErrClosed)},
		{http.ErrSchemeMismatch, "server gave HTTP response to HTTPS client", isErr(http.ErrSchemeMismatch)},
		{&net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}, "lookup a.test: no such host", asErr[*net.DNSError]},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "connect: connection refused", isErr(syscall.ECONNREFUSED)},
		{syscall.ECONNRESET, "connection reset by peer", isErr(syscall.ECONNRESET)},
		{x509.UnknownAuthorityError{}, "x509: certificate signed by unknown authority", asErr[x509.UnknownAuthorityError]},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake", RecordHeader: [5]byte([]byte(secret))}, "tls: first record does not look like a TLS handshake", asErr[*redact.TransportError]},
		{redact.Own(errors.New("redirect refused")), "redirect refused", func(error) bool { return true }},
	}
	for _, tt := range tests {
		for _, err := range []error{tt.err, quoted(tt.err), wrap(tt.err), quoted(wrap(quoted(wrap(tt.err)))), quoted(errors.Join(errors.New(secret), tt.err))} {
			got := redact.Error(err)
			if got.Error() != tt.want || !tt.unchanged(got) {
				t.Errorf("Error(%v) = %q (%T), want %q and the same condition", err, got, got, tt.want)
			}
			expectClean(t, got, secret)
		}
	}
}

func TestWhatIsUnknown(t *testing.T) {
	var none *url.Error
	tests := []struct {
		err  error
		want string
	}{
		{errors.New(secret), "transport failed (*errors.errorString)"},
		{quoted(errors.New(secret)), "transport failed (*errors.errorString)"},
		{quoted(nil), "transport failed"},
		{none, "transport failed"},
		{parseError(secret + "://%zz"), "invalid URL"},
		{quoted(parseError("http://a.test/\x7f" + secret)), "invalid URL"},
		{quoted(&net.OpError{Op: "dial", Err: &net.AddrError{Err: "missing port", Addr: secret}}), "transport failed (*net.OpError)"},
	}
	for _, tt := range tests {
		got := redact.Error(tt.err)
		if got.Error() != tt.want {
			t.Errorf("text %q, want %q", got, tt.want)
		}
		expectClean(t, got, secret)
	}
	if redact.Error(nil) != nil || redact.Foreign(nil) != nil {
		t.Error("no error became one")
	}
}

func parseError(raw string) error {
	_, err := url.Parse(raw)
	return err
}

func TestForeign(t *testing.T) {
	mine := errors.New("my own words")
	tests := []struct {
		name string
		err  error
		want string // "" for as it was
	}{
		{"another's words", mine, ""},
		{"wrapped", fmt.Errorf("middleware: %w", mine), ""},
		{"redacted before", fmt.Errorf("middleware: %w", redact.Error(quoted(errors.New(`malformed HTTP response "`+secret+`"`)))), ""},
		{"holds a URL", fmt.Errorf("middleware: %w", quoted(mine)), "transport failed (*errors.errorString)"},
		{"parsing a URL", fmt.Errorf("request: %w", parseError("http://a.test/%zz"+secret)), "invalid URL"},
		{"of a RoundTripper, without a URL", fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", fmt.Errorf("malformed HTTP response %q", secret)), "malformed HTTP response"},
	}
	for _, tt := range tests {
		got := redact.Foreign(tt.err)
		if tt.want == "" {
			if got != tt.err { //nolint:errorlint // The very same.
				t.Errorf("%s: became %v", tt.name, got)
			}
			continue
		}
		if got.Error() != tt.want {
			t.Errorf("%s: text %q, want %q", tt.name, got, tt.want)
		}
		expectClean(t, got, secret)
	}
}

// An author's conditions stay, also where its words cannot.
func TestForeignKeepsConditions(t *testing.T) {
	mine := errors.New("my own words")
	for _, err := range []error{
		errors.Join(mine, quoted(io.EOF)), fmt.Errorf("%w: %w", quoted(errors.New(secret)), mine),
		fmt.Errorf("malformed HTTP response %q: %w", secret, mine), quoted(mine),
	} {
		got := redact.Foreign(err)
		if !errors.Is(got, mine) || errors.Is(got, io.ErrClosedPipe) {
			t.Errorf("%v became %v, which is mine: %v", err, got, errors.Is(got, mine))
		}
		if asErr[*url.Error](got) {
			t.Errorf("errors.As finds the URL in %v", got)
		}
		expectClean(t, got, secret)
		if again := redact.Foreign(got); again != got { //nolint:errorlint // The very same.
			t.Errorf("rebuilt again: %v", again)
		}
	}
	if got := redact.Foreign(quoted(io.EOF)); !errors.Is(got, io.EOF) || errors.Is(got, mine) {
		t.Errorf("Foreign = %v", got)
	}
}

// What a *http.Transport returns, which a Fetcher may pass on, is known to Foreign in
// every form that quotes the answer.
func TestForeignKnowsWhatTransportsQuote(t *testing.T) {
	for _, raw := range []string{
		secret + "\r\n\r\n", "HTTP/1.1 " + secret + "\r\n\r\n", "HTTP/" + secret + " 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\n " + secret + ": x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: a\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
	} {
		err := errors.Unwrap(exchange(t, "http://a.test/", raw)) // without its *url.Error
		if asErr[*url.Error](err) || !strings.Contains(err.Error(), secret) {
			t.Fatalf("%v: the test shows nothing", err)
		}
		expectClean(t, redact.Foreign(fmt.Errorf("fetcher: %w", err)), secret)
	}
}

// TLS alerts have no exported type, but tell why a handshake failed.
func TestAlerts(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		_ = tls.Server(server, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}).HandshakeContext(t.Context()) //nolint:gosec // To be refused.
	}()
	defer client.Close()
	raw := tls.Client(client, &tls.Config{ServerName: "a.test", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	if got := redact.Error(quoted(raw)); !strings.Contains(got.Error(), "protocol version") {
		t.Errorf("%q became %q", raw, got)
	}
}

// FuzzError puts a secret into everything that net/http fills with others' words.
func FuzzError(f *testing.F) {
	f.Add("S3CR3Tword", uint8(0))
	f.Add("malformed HTTP response \"S3CR3T\"", uint8(7))
	f.Add("\" timeout awaiting response headers", uint8(3))
	f.Fuzz(func(t *testing.T, words string, shape uint8) {
		const mark = "\x01S3CR3T\x02" // no text of ours holds it
		secret := mark + words + mark
		shapes := []error{
			errors.New(secret),
			fmt.Errorf("malformed HTTP response %s", secret),
			fmt.Errorf("failed to parse Location header %q: %s", secret, secret),
			fmt.Errorf("net/http: HTTP/1.x transport connection broken: malformed MIME header line: %s", secret),
			fmt.Errorf("dial %s: %w", secret, io.EOF),
			errors.Join(errors.New(secret), context.Canceled),
			&net.OpError{Op: secret, Net: secret, Err: errors.New(secret)},
			&net.ParseError{Type: secret, Text: secret},
			url.InvalidHostError(secret),
			timeout(secret),
		}
		err := shapes[int(shape)%len(shapes)]
		for _, err := range []error{err, quoted(err), &url.Error{Op: "parse", URL: secret, Err: err}, wrap(quoted(wrap(err)))} {
			got := redact.Error(err)
			if got == nil {
				t.Fatal("the error is gone")
			}
			expectClean(t, got, "S3CR3T\x02")
			expectClean(t, got, `S3CR3T\x02`)
		}
	})
}
