// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// provider is an issuer over TLS that answers what a test says, and counts.
type provider struct {
	t      *testing.T
	issuer string
	roots  *x509.CertPool

	mu       sync.Mutex
	answers  map[string]http.HandlerFunc // by path
	requests map[string]int
}

const (
	configPath = "/.well-known/openid-configuration"
	keysPath   = "/keys"
)

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, answers: make(map[string]http.HandlerFunc), requests: make(map[string]int)}
	server := httptest.NewTLSServer(p)
	t.Cleanup(server.Close)
	p.issuer = strings.Replace(server.URL, "127.0.0.1", "idp.example.com", 1) // a name that the certificate has
	p.roots = x509.NewCertPool()
	p.roots.AddCert(server.Certificate())
	p.says(configPath, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, p.issuer, p.issuer+keysPath))
	return p
}

// ServeHTTP implements [http.Handler].
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests[r.URL.Path]++
	answer := p.answers[r.URL.Path]
	p.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r)
}

func (p *provider) on(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = h
}

func (p *provider) says(path, body string) {
	p.on(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
}

func (p *provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[path]
}

// LookupNetIP implements egress.Resolver.
func (*provider) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a set of a provider's keys whose renewals are counted.
type world struct {
	*provider
	*Set
	clock
	failed, renewed int
}

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{provider: newProvider(t), clock: clock{now: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}}
	c := Config{
		Source: Source{Issuer: w.issuer}, RootCAs: w.roots, Now: w.Now,
		Egress: egress.Policy{Resolver: w.provider, Exceptions: []egress.Exception{{Host: "idp.example.com", Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}},
		Fetched: func(_ context.Context, err error) {
			if err != nil {
				w.failed++
			} else {
				w.renewed++
			}
		},
	}
	change(&c)
	var err error
	if w.Set, err = New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

func keep(*Config) {}

// has reports whether the set has a key, and that it answers at all.
func (w *world) has(kid, alg string) bool {
	w.t.Helper()
	k, err := w.Key(w.t.Context(), kid, alg)
	if err != nil {
		w.t.Fatalf("key %q: %v", kid, err)
	}
	return k != nil
}

// again is what Run does at the end of an interval.
func (w *world) again() error { return w.fetch(w.t.Context()) }

// public makes a public key of a kind.
func public(t *testing.T, kind string) crypto.PublicKey {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

// jwk is a key in JSON with changes.
func jwk(t *testing.T, kid, kind string, changes map[string]any) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: public(t, kind), KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	maps.Copy(members, changes)
	if text, err = json.Marshal(members); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func set(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

// JW-3: which keys of a set may check what. A key that is left out takes no other one with it.
func TestKeysFit(t *testing.T) {
	rsaAlgs := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	type m = map[string]any
	for _, tt := range []struct {
		name, kind string
		changes    m
		want       []string
	}{
		{"P-256", "ES256", nil, []string{"ES256"}},
		{"P-384", "ES384", nil, []string{"ES384"}},
		{"P-521", "ES512", nil, []string{"ES512"}},
		{"RSA", "RS256", nil, rsaAlgs},
		{"RSA for one algorithm", "RS256", m{"alg": "PS256"}, []string{"PS256"}},
		{"RSA for encryption", "RS256", m{"alg": "RSA-OAEP"}, nil},
		{"Ed25519", "EdDSA", nil, []string{"EdDSA"}},
		{"Ed25519, named fully", "EdDSA", m{"alg": "Ed25519"}, []string{"EdDSA"}},
		{"alg of another type", "ES256", m{"alg": "RS256"}, nil},
		{"alg of another curve", "ES256", m{"alg": "ES384"}, nil},
		{"for signatures", "ES256", m{"use": "sig"}, []string{"ES256"}},
		{"for encryption", "ES256", m{"use": "enc"}, nil},
		{"to verify", "ES256", m{"key_ops": []string{"verify"}}, []string{"ES256"}},
		{"to encrypt", "ES256", m{"key_ops": []string{"encrypt"}}, nil},
		{"key_ops is no list", "ES256", m{"key_ops": "verify"}, nil},
		{"private part", "ES256", m{"d": "AAAA"}, nil},
		{"symmetrical", "ES256", m{"kty": "oct", "k": "AAAA"}, nil},
		{"not on the curve", "ES256", m{"x": "AAAA"}, nil},
		{"unknown type", "ES256", m{"kty": "XX"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := parse([]byte(set(jwk(t, "a", tt.kind, tt.changes), jwk(t, "b", "ES256", nil))))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range keys {
				if k.ID == "a" {
					got = k.algorithms
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("fits %v, want %v", got, tt.want)
			}
			if !slices.ContainsFunc(keys, func(k *Key) bool { return k.ID == "b" }) {
				t.Error("the key beside it is gone")
			}
		})
	}
}

// JW-6: whatever is wrong with an answer, the keys stay and somebody is told.
func TestBadAnswersKeepTheKeys(t *testing.T) {
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	}
	var many []string
	for i := range 101 {
		many = append(many, `{"kty":"XX","kid":"`+strconv.Itoa(i)+`"}`)
	}
	for _, tt := range []struct {
		name, path string
		answer     http.HandlerFunc
	}{
		{"10 MB", keysPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) }},
		{"101 keys", keysPath, body(set(many...))},
		{"not JSON", keysPath, body("<html>")},
		{"a list", keysPath, body("[]")},
		{"no keys", keysPath, body("{}")},
		{"keys of null", keysPath, body(`{"keys":null}`)},
		{"keys in capitals", keysPath, body(`{"KEYS":[]}`)},
		{"status 500", keysPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{"status 204", keysPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
		{"redirect", keysPath, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, configPath, http.StatusFound) }},
		{"compressed", keysPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte(`{"keys":[]}`))
		}},
		{"cut off", keysPath, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, keep)
			w.says(keysPath, set(jwk(t, "a", "ES256", nil)))
			if err := w.again(); err != nil || !w.has("a", "ES256") {
				t.Fatalf("at first: %v", err)
			}
			w.on(tt.path, tt.answer)
			if err := w.again(); err == nil || w.failed != 1 || w.renewed != 1 {
				t.Errorf("%d failures, %d renewals: %v", w.failed, w.renewed, err)
			}
			if !w.has("a", "ES256") {
				t.Error("the key is gone")
			}
			w.says(keysPath, set())
			if err := w.again(); err != nil || w.has("a", "ES256") {
				t.Errorf("after a good and empty set the key is there (JW-10): %v", err)
			}
		})
	}
}

// OpenID Connect Discovery 1.0 §4.3, JW-6: a document that is not the issuer's leads nowhere.
func TestDiscovery(t *testing.T) {
	for _, tt := range []struct {
		name string
		want bool
		make func(issuer string) string
	}{
		{"as it should be", true, func(i string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i, i+keysPath) }},
		{"another issuer", false, func(i string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i+"/", i+keysPath) }},
		{"no issuer", false, func(i string) string { return fmt.Sprintf(`{"jwks_uri":%q}`, i+keysPath) }},
		{"issuer in another case", false, func(i string) string { return fmt.Sprintf(`{"Issuer":%q,"jwks_uri":%q}`, i, i+keysPath) }},
		{"no key set", false, func(i string) string { return fmt.Sprintf(`{"issuer":%q}`, i) }},
		{"keys over http", false, func(i string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://idp.example.com/keys"}`, i) }},
		{"keys over http of this machine", false, func(i string) string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://127.0.0.1/keys"}`, i) }},
		{"keys with a user", false, func(i string) string {
			return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://u:p@idp.example.com/keys"}`, i)
		}},
		{"keys at the metadata service", false, func(i string) string {
			return fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://169.254.169.254/keys"}`, i)
		}},
		{"not JSON", false, func(string) string { return "<html>" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, keep)
			w.says(keysPath, set(jwk(t, "a", "ES256", nil)))
			w.says(configPath, tt.make(w.issuer))
			k, err := w.Key(t.Context(), "a", "ES256")
			if tt.want && (err != nil || k == nil) {
				t.Errorf("no key: %v", err)
			}
			if f := fault.From(err); !tt.want && (k != nil || err == nil || f.Kind != fault.Unavailable || f.Reason != ReasonNotLoaded || w.count(keysPath) > 0) {
				t.Errorf("got %v, %v after %d requests for keys", k, err, w.count(keysPath))
			}
		})
	}
}

// Where a discovery document said that keys are counts for an hour, on if it cannot be read, and not if there are none.
func TestDiscoveryIsKept(t *testing.T) {
	w := newWorld(t, keep)
	w.says(keysPath, set(jwk(t, "a", "ES256", nil)))
	for range 3 {
		if err := w.again(); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(configPath); n != 1 {
		t.Errorf("asked %d times", n)
	}
	w.pass(time.Hour)
	w.says(configPath, "broken")
	if err := w.again(); err != nil || w.count(configPath) != 2 {
		t.Errorf("with a broken document after %d requests: %v", w.count(configPath), err)
	}
	w.on(keysPath, nil)
	w.says("/moved", set(jwk(t, "b", "ES256", nil)))
	w.says(configPath, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, w.issuer, w.issuer+"/moved"))
	if err := w.again(); err != nil || !w.has("b", "ES256") {
		t.Errorf("keys that moved: %v", err)
	}
}

// A pinned URL needs no discovery; what may not be fetched is not.
func TestPinnedAndGuarded(t *testing.T) {
	pinned := newWorld(t, func(c *Config) { c.Source.URL = c.Source.Issuer + "/pinned" })
	pinned.says("/pinned", set(jwk(t, "a", "ES256", nil)))
	if !pinned.has("a", "ES256") || pinned.count(configPath) != 0 {
		t.Errorf("pinned: %d discoveries", pinned.count(configPath))
	}
	for name, change := range map[string]func(*Config){
		"address inside":    func(c *Config) { c.Egress.Exceptions = nil },
		"unknown authority": func(c *Config) { c.RootCAs = x509.NewCertPool() },
		"another host's":    func(c *Config) { c.Egress.Exceptions[0].Host = "other.example.com" },
		"certificate's name": func(c *Config) {
			c.Source.Issuer = strings.Replace(c.Source.Issuer, "idp.example.com", "localhost", 1)
			c.Egress.AllowLoopback = true
		},
	} {
		w := newWorld(t, change)
		w.says(keysPath, set(jwk(t, "a", "ES256", nil)))
		if k, err := w.Key(t.Context(), "a", "ES256"); k != nil || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		if n := w.count(configPath) + w.count(keysPath); n > 0 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	for _, source := range []Source{
		{},
		{Issuer: "http://idp.example.com"},
		{Issuer: "ftp://idp.example.com"},
		{Issuer: "https://u@idp.example.com"},
		{Issuer: "https://idp.example.com", URL: "http://idp.example.com/keys"},
		{Issuer: "https://idp.example.com#x"},
	} {
		if _, err := New(Config{Source: source}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%+v: %v", source, err)
		}
	}
}

// JW-8: unknown kids make one request in 10 s, and one kid none in 60 s; JW-7: a day without the issuer; JW-9: no kid.
func TestUnknownKeys(t *testing.T) {
	w := newWorld(t, keep)
	w.says(keysPath, set(jwk(t, "a", "ES256", nil)))
	if !w.has("a", "ES256") || !w.has("", "ES256") || w.has("", "RS256") || w.has("a", "RS256") {
		t.Error("the only key")
	}
	if n := w.count(keysPath); n != 1 {
		t.Errorf("%d requests", n)
	}
	before := w.count(keysPath)
	for i := range 1000 {
		if w.has("of nobody "+strconv.Itoa(i), "ES256") {
			t.Fatal("a key of nobody")
		}
		w.pass(60 * time.Millisecond)
	}
	if n := w.count(keysPath) - before; n > 6 {
		t.Errorf("1000 kids in a minute made %d requests", n)
	}
	w.pass(10 * time.Second)
	w.has("b", "ES256")
	before = w.count(keysPath)
	w.says(keysPath, set(jwk(t, "a", "ES256", nil), jwk(t, "b", "ES256", nil)))
	for range 5 {
		w.pass(11 * time.Second)
		if w.has("b", "ES256") {
			t.Error("it was asked for again")
		}
	}
	w.pass(11 * time.Second)
	if !w.has("b", "ES256") || w.count(keysPath) != before+1 {
		t.Errorf("after a minute: %d requests", w.count(keysPath)-before)
	}
	if w.has("", "ES256") {
		t.Error("no kid and two keys (JW-9)")
	}
	w.says(keysPath, "down")
	w.pass(24*time.Hour - time.Second)
	if !w.has("b", "ES256") {
		t.Error("not kept for a day (JW-7)")
	}
	w.pass(time.Second)
	if _, err := w.Key(t.Context(), "b", "ES256"); fault.From(err).Reason != ReasonNotLoaded {
		t.Errorf("after a day: %v", err)
	}
	if long := strings.Repeat("x", maxID+1); w.has2(long) {
		t.Error("a long kid")
	}
}

// has2 reports whether there is a key, whatever else is said.
func (w *world) has2(kid string) bool {
	k, _ := w.Key(w.t.Context(), kid, "ES256")
	return k != nil
}

// Many who miss a key wait for one request, and one who goes away ends it for nobody.
func TestOneFetchForMany(t *testing.T) {
	w := newWorld(t, keep)
	release, asked := make(chan struct{}), make(chan struct{}, 2)
	text := set(jwk(t, "a", "ES256", nil))
	w.on(keysPath, func(rw http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-release
		_, _ = rw.Write([]byte(text))
	})
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := w.Key(gone, "a", "ES256")
		first <- err
	}()
	<-asked
	leave()
	if err := <-first; err == nil {
		t.Error("who went away got a key")
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if k, err := w.Key(t.Context(), "a", "ES256"); k == nil || err != nil {
				t.Errorf("%v, %v", k, err)
			}
		})
	}
	close(release)
	all.Wait()
	if n := w.count(keysPath); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// JW-7: how long an answer is fresh, by its headers.
func TestFresh(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"nothing said", http.Header{}, maxFresh},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=3600"}}, time.Hour},
		{"and age", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"600"}}, 50 * time.Minute},
		{"too short", http.Header{"Cache-Control": {"max-age=1"}}, minFresh},
		{"too long", http.Header{"Cache-Control": {"max-age=9999999"}}, maxFresh},
		{"no-store", http.Header{"Cache-Control": {"max-age=3600, no-store"}}, minFresh},
		{"no number", http.Header{"Cache-Control": {"max-age=x"}}, minFresh},
		{"Expires", http.Header{"Expires": {now.Add(2 * time.Hour).Format(http.TimeFormat)}}, 2 * time.Hour},
		{"max-age before Expires", http.Header{"Expires": {now.Add(2 * time.Hour).Format(http.TimeFormat)}, "Cache-Control": {"max-age=3600"}}, time.Hour},
	} {
		if got := fresh(tt.header, now); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
