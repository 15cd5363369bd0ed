package jwkstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// An Issuer publishes keys and metadata, and signs tokens. Make one with [New].
// All methods are safe for concurrent use. A change takes effect atomically, with the next
// response.
type Issuer struct {
	path      string // of the issuer's URL, as given
	keySet    *Endpoint
	discovery *Endpoint
	metadata  *Endpoint

	mu     sync.Mutex
	origin string // scheme and host
	server *httptest.Server
	made   int // the number of keys that have been named
	keys   []published
	fields map[string]any // changed fields of the metadata; nil means removed
}

// A published key is one entry of the key set. One of PublishJWK has no key.
type published struct {
	kid string
	jwk json.RawMessage
	key *Key
}

// An Option configures a new [Issuer].
type Option func(*config)

type config struct{ url, algorithm string }

// WithURL sets the issuer's URL. The default is https://issuer.test. It may have a path. A
// trailing slash stays in the name of the issuer, but is not doubled in the URLs of its
// endpoints. [Issuer.Start] replaces scheme and host.
func WithURL(issuer string) Option { return func(c *config) { c.url = issuer } }

// WithAlgorithm sets the algorithm of the first key; the default is ES256. See
// [Issuer.NewKey].
func WithAlgorithm(alg string) Option { return func(c *config) { c.algorithm = alg } }

// New returns an issuer with one published key. It opens no connection.
func New(opts ...Option) *Issuer {
	c := config{url: "https://issuer.test", algorithm: "ES256"}
	for _, o := range opts {
		o(&c)
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Scheme == "" || u.Host == "" {
		panic("jwkstest: the issuer needs an absolute URL")
	}
	i := &Issuer{path: u.Path, origin: u.Scheme + "://" + u.Host, fields: make(map[string]any)}
	dir := strings.TrimSuffix(u.Path, "/")
	i.keySet = &Endpoint{issuer: i, path: dir + "/jwks.json", document: i.keyDocument}
	i.discovery = &Endpoint{issuer: i, path: dir + "/.well-known/openid-configuration", document: i.metadataDocument}
	i.metadata = &Endpoint{issuer: i, path: "/.well-known/oauth-authorization-server" + dir, document: i.metadataDocument}
	i.Rotate(c.algorithm)
	return i
}

// URL returns the name of the issuer, which is the iss of its tokens.
func (i *Issuer) URL() string { return i.base() + i.path }

// KeySet returns the endpoint of the published keys.
func (i *Issuer) KeySet() *Endpoint { return i.keySet }

// Discovery returns the endpoint of OpenID Connect Discovery.
func (i *Issuer) Discovery() *Endpoint { return i.discovery }

// Metadata returns the endpoint of RFC 8414, which serves the same document as
// Discovery. For an issuer that has only one of them, Break the other with Answer
// and 404.
func (i *Issuer) Metadata() *Endpoint { return i.metadata }

// SetMetadata sets a field of the metadata, which both of its endpoints serve, such as
// another jwks_uri or issuer. The value is anything that [json.Marshal] accepts; nil removes
// the field.
func (i *Issuer) SetMetadata(field string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fields[field] = value
}

// Rotate makes a key, publishes it, and returns it. The older keys stay published.
// See [Issuer.NewKey] for the algorithms.
func (i *Issuer) Rotate(alg string) Key {
	k := i.NewKey(alg)
	i.Publish(k)
	return k
}

// NewKey makes a key without publishing it. The algorithms are RS256, RS384, RS512, PS256,
// PS384 and PS512 with 2048 bits, which take a large part of a second to make; ES256, ES384
// and ES512; and EdDSA, or Ed25519, its name in RFC 9864.
func (i *Issuer) NewKey(alg string) Key {
	private := generate(alg)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	return Key{ID: "key-" + strconv.Itoa(i.made), Algorithm: alg, Private: private}
}

// Publish adds a key, which may be the caller's own, to the end of the key set.
// [Issuer.Sign] uses it from then on. A key of the same name stays, too.
func (i *Issuer) Publish(k Key) {
	jwk := k.JWK()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, published{kid: k.ID, jwk: jwk, key: &k})
}

// PublishJWK adds any JSON value unchanged to the end of the key set. Sign does not use it.
// For a key set that is not JSON, see [Answer].
func (i *Issuer) PublishJWK(jwk string) {
	raw := json.RawMessage(jwk)
	if !json.Valid(raw) {
		panic("jwkstest: the key is not JSON")
	}
	var named struct {
		ID string `json:"kid"`
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		named.ID = "" // not an object, or with an invalid kid, on purpose
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, published{kid: named.ID, jwk: raw})
}

// Withdraw removes all keys of this name from the key set.
func (i *Issuer) Withdraw(kid string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = slices.DeleteFunc(i.keys, func(p published) bool { return p.kid == kid })
}

// Key returns the key that signs: the last published key of the key set. It panics if there
// is none.
func (i *Issuer) Key() Key {
	k, ok := i.signer()
	if !ok {
		panic("jwkstest: no published key can sign")
	}
	return k
}

// ServeHTTP selects the endpoint by the path alone and ignores the host.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, e := range i.endpoints() {
		if e.at(r.URL.Path) {
			e.serve(w, r)
			return
		}
	}
	http.NotFound(w, r)
}

func (i *Issuer) endpoints() [3]*Endpoint {
	return [3]*Endpoint{i.keySet, i.discovery, i.metadata}
}

func (i *Issuer) base() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.origin
}

func (i *Issuer) signer() (Key, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range slices.Backward(i.keys) {
		if p.key != nil {
			return *p.key, true
		}
	}
	return Key{}, false
}

func (i *Issuer) keyDocument() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := make([]json.RawMessage, 0, len(i.keys)) // never null
	for _, p := range i.keys {
		keys = append(keys, p.jwk)
	}
	return marshal(map[string]any{"keys": keys})
}

func (i *Issuer) metadataDocument() []byte {
	issuer, dir, keys := i.URL(), strings.TrimSuffix(i.URL(), "/"), i.keySet.URL()
	i.mu.Lock()
	defer i.mu.Unlock()
	algs := []string{}
	for _, p := range i.keys {
		if p.key != nil && !slices.Contains(algs, p.key.Algorithm) {
			algs = append(algs, p.key.Algorithm)
		}
	}
	doc := map[string]any{
		"issuer":                                issuer,
		"jwks_uri":                              keys,
		"authorization_endpoint":                dir + "/authorize",
		"token_endpoint":                        dir + "/token",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": algs,
	}
	for field, value := range i.fields {
		doc[field] = value
		if value == nil {
			delete(doc, field)
		}
	}
	return marshal(doc)
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("jwkstest: " + err.Error())
	}
	return b
}
