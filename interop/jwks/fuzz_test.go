package jwks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jws/jwsbb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A verdict has the results of the three for one token.
type verdict struct {
	ours, jose, jwx          []byte // the payloads
	oursErr, joseErr, jwxErr error
	jwxAlg                   string // the algorithm of the key that jwx used, if the key names one
}

func (v *verifiers) ask(t testing.TB, token string) verdict {
	t.Helper()
	var d verdict
	d.ours, d.oursErr = v.src.VerifySignature(t.Context(), token)
	d.jose, d.joseErr = v.goJose(token)
	d.jwx, d.jwxAlg, d.jwxErr = v.jwxVerify(token)
	return d
}

// A reason explains a difference.
type reason struct {
	because string
	holds   func(a anatomy, d verdict) bool
}

// stricter are the only reasons for which everfresh may reject a token that go-jose v4.1.8
// or jwx v3.3.0 accepts.
var stricter = map[string]reason{
	"alphabet": {
		"a token has one spelling, that of base64url (RFC 7515, section 2); jwx takes the other alphabet, too",
		func(a anatomy, _ verdict) bool { return strings.ContainsAny(a.token, "+/") },
	},
	"padding": {
		"base64url has none here (RFC 7515, section 2); jwx takes it",
		func(a anatomy, _ verdict) bool { return strings.Contains(a.token, "=") },
	},
	"line break": {
		"base64url has none (RFC 7515, section 2), but package base64 skips it",
		func(a anatomy, _ verdict) bool { return strings.ContainsAny(a.token, "\r\n") },
	},
	"stray bits": {
		"with others after the last byte, one signature has several spellings; both take them",
		func(a anatomy, _ verdict) bool { return a.stray },
	},
	"duplicate member": {
		"of two members with one name another reader may believe the other (RFC 7515, sections 4 and 10.12)",
		func(a anatomy, _ verdict) bool { return a.duplicate },
	},
	"crit and b64": {
		"no extension is understood here (RFC 7515, section 4.1.11; RFC 7797)",
		func(a anatomy, _ verdict) bool { return a.has("crit") || a.has("b64") },
	},
	"kid or alg is no string": {
		"they are strings (RFC 7515, sections 4.1.1 and 4.1.4); null is read as absent elsewhere",
		func(a anatomy, _ verdict) bool {
			return a.has("kid") && !a.isString("kid") || a.has("alg") && !a.isString("alg")
		},
	},
	"many members": {
		"so that looking for duplicates stays cheap",
		func(a anatomy, _ verdict) bool { return len(a.members) > 64 },
	},
	"UTF-8": {
		"a header is UTF-8 (RFC 7515, section 4), and what is not is read as something else",
		func(a anatomy, _ verdict) bool { return !utf8.Valid(a.header) },
	},
	"no alg": {
		"a signature is of the algorithm that the token names (RFC 7515, section 4.1.1); jwx tries those that the key can have",
		func(a anatomy, _ verdict) bool { return a.text("alg") == "" },
	},
	"another alg": {
		"jwx goes by the alg of the key, if it has one, and does not look at the token's (RFC 7515, section 10.7)",
		func(a anatomy, d verdict) bool {
			return d.joseErr != nil && d.jwxAlg != "" && d.jwxAlg != a.text("alg")
		},
	},
	"salt": {
		"the salt of PSS is as long as the hash (RFC 7518, section 3.5); go-jose takes any",
		func(a anatomy, d verdict) bool { return strings.HasPrefix(a.text("alg"), "PS") && d.jwxErr != nil },
	},
	"not for this": {
		"the key's alg and use are obeyed (RFC 7517, sections 4.2 and 4.4); go-jose leaves that to its caller",
		func(a anatomy, _ verdict) bool {
			return a.text("kid") == "rs256" && a.text("alg") != "RS256" || a.text("kid") == "enc"
		},
	},
}

// An anatomy is the result of a lenient parse of a token.
type anatomy struct {
	token     string
	stray     bool // a part has bits after its last byte
	header    []byte
	members   map[string]json.RawMessage
	duplicate bool
}

func dissect(token string) anatomy {
	a := anatomy{token: token}
	for i, part := range strings.Split(token, ".") {
		decoded := decodeLeniently(part)
		if i == 0 {
			a.header = decoded
		}
		a.stray = a.stray || decoded != nil && encode(decoded) != part
	}
	a.readMembers()
	return a
}

// readMembers reads the header with encoding/json, which differs from our parser.
func (a *anatomy) readMembers() {
	a.members = make(map[string]json.RawMessage)
	dec := json.NewDecoder(bytes.NewReader(a.header))
	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return
		}
		_, seen := a.members[fmt.Sprint(name)]
		a.duplicate = a.duplicate || seen
		a.members[fmt.Sprint(name)] = value
	}
}

func (a *anatomy) has(name string) bool { _, ok := a.members[name]; return ok }

func (a *anatomy) isString(name string) bool { return bytes.HasPrefix(a.members[name], []byte(`"`)) }

func (a *anatomy) text(name string) string {
	var s string
	if json.Unmarshal(a.members[name], &s) != nil {
		return ""
	}
	return s
}

// judge fails the test unless the three agree or there is a reason for the difference.
func judge(t *testing.T, v *verifiers, token string) {
	t.Helper()
	d := v.ask(t, token)
	describe := func() string {
		return fmt.Sprintf("%q\nheader %q\nours: %v\ngo-jose: %v\njwx: %v", token, dissect(token).header, d.oursErr, d.joseErr, d.jwxErr)
	}
	if d.oursErr == nil {
		if d.joseErr != nil && d.jwxErr != nil {
			require.True(t, unread(dissect(token)) && v.signed(t, token), "only we accept %s", describe())
			return
		}
		require.True(t, d.joseErr != nil || bytes.Equal(d.ours, d.jose), "another payload: %s", describe())
		require.True(t, d.jwxErr != nil || bytes.Equal(d.ours, d.jwx), "another payload: %s", describe())
		return
	}
	if d.joseErr != nil && d.jwxErr != nil {
		return
	}
	a := dissect(token)
	for _, r := range stricter {
		if r.holds(a, d) {
			return
		}
	}
	t.Fatalf("only we refuse %s", describe())
}

// unread reports whether there is a member that everfresh ignores, such as jwk. If it is
// malformed, both others reject the token; here it may be anything, because no key ever comes
// from it.
func unread(a anatomy) bool {
	if a.has("crit") || a.has("b64") {
		return false
	}
	for name := range a.members {
		if name != "alg" && name != "kid" {
			return true
		}
	}
	return false
}

// signed reports whether the part of jwx that reads no header accepts the signature.
func (v *verifiers) signed(t testing.TB, token string) bool {
	t.Helper()
	a, end := dissect(token), strings.LastIndexByte(token, '.')
	for key := range v.set.All() {
		if kid := a.text("kid"); kid != "" && kid != key.ID {
			continue
		}
		if jwsbb.Verify(key.Public, a.text("alg"), []byte(token[:end]), decodeLeniently(token[end+1:])) == nil {
			return true
		}
	}
	return false
}

// FuzzVerifySignature: for the same token our result is that of go-jose and jwx, except for
// the reasons above. A token that both reject is never accepted.
func FuzzVerifySignature(f *testing.F) {
	s := newSigners(f)
	v := newVerifiers(f, s.document)
	for _, token := range s.tokens(f) {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if len(token) < 1<<16 {
			judge(t, v, token)
		}
	})
}

// FuzzSignedHeader is the same for signed headers, so that only the header can be wrong.
func FuzzSignedHeader(f *testing.F) {
	s := newSigners(f)
	v := newVerifiers(f, s.document)
	for _, good := range headers[:goodHeaders] {
		for how := range uint8(len(s.signers)) { // one of them is right
			f.Add(good, []byte(`{"sub":"alice"}`), how, uint8(0))
		}
	}
	for _, odd := range headers[goodHeaders:] {
		for _, how := range []uint8{0, 6, 9} { // RS256, ES256, EdDSA
			f.Add(odd, []byte(`{"sub":"alice"}`), how, uint8(0))
		}
	}
	for form := range uint8(len(forms)) {
		f.Add(`{"alg":"ES256","kid":"p256"}`, []byte("some payload"), uint8(6), form)
		f.Add(`{"alg":"RS256","kid":"rsa"} `, []byte("1"), uint8(0), form)
	}
	f.Fuzz(func(t *testing.T, header string, payload []byte, how, form uint8) {
		if len(header)+len(payload) < 1<<16 {
			judge(t, v, s.sign(t, header, payload, how, form))
		}
	})
}

// samples are a token for each of the reasons: header, signer and form.
var samples = map[string]struct {
	header    string
	how, form uint8
}{
	"alphabet":                {`{"alg":"RS256","kid":"rsa"}`, 0, 13},
	"padding":                 {`{"alg":"ES256","kid":"p256"}`, 6, 14},
	"line break":              {`{"alg":"ES256","kid":"p256"}`, 6, 15},
	"stray bits":              {`{"alg":"ES256","kid":"p256"}`, 6, 16},
	"duplicate member":        {`{"alg":"ES256","kid":"p256","x":1,"x":2}`, 6, 0},
	"crit and b64":            {`{"alg":"ES256","kid":"p256","b64":true}`, 6, 0},
	"kid or alg is no string": {`{"alg":"ES256","kid":null}`, 6, 0},
	"many members":            {`{"alg":"ES256","kid":"p256",` + members(70) + `}`, 6, 0},
	"UTF-8":                   {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"x\":\"\xff\"}", 6, 0},
	"no alg":                  {`{}`, 6, 0},
	"another alg":             {`{"alg":"none"}`, 0, 0},
	"salt":                    {`{"alg":"PS256","kid":"rsa"}`, goodHeaders, 0},
	"not for this":            {`{"alg":"ES256","kid":"enc"}`, 6, 0},
}

// Every reason applies to a token that is rejected here and accepted by one of the others,
// and no reason applies to a good token.
func TestEachReasonIsNeeded(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	v := newVerifiers(t, s.document)
	for name, r := range stricter {
		sample := samples[name]
		token := s.sign(t, sample.header, []byte("{ }"), sample.how, sample.form)
		d := v.ask(t, token)
		assert.Error(t, d.oursErr, name)
		assert.True(t, d.joseErr == nil || d.jwxErr == nil, "%s: %v, %v", name, d.joseErr, d.jwxErr)
		assert.True(t, r.holds(dissect(token), d), name)
	}
	for how, header := range headers[:goodHeaders-2] {
		token := s.sign(t, header, []byte("{ }"), uint8(how), 0)
		d := v.ask(t, token)
		assert.NoError(t, errors.Join(d.oursErr, d.joseErr, d.jwxErr), header)
		for name, r := range stricter {
			assert.False(t, r.holds(dissect(token), d), "%s: %s", name, header)
		}
	}
}
