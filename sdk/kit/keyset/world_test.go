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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/sdk/kit/egress"
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
