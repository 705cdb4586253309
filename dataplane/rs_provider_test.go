// SPDX-License-Identifier: Apache-2.0

package dataplane

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
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/providers"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// rsProvider is an identity provider over TLS, outside the fake time of a world: its discovery document, its key set, and its
// private keys. Its host is resolved to this machine, which the node's egress setting opens.
type rsProvider struct {
	t      *testing.T
	issuer string
	roots  *x509.CertPool
	keys   map[string]crypto.Signer // by kid
	algs   map[string]jose.SignatureAlgorithm

	discoveries, fetches atomic.Int64

	mu     sync.Mutex
	shown  []string                // kids in the key set
	answer http.HandlerFunc        // in place of the key set, if set
	change func(map[string]string) // of the discovery document, if set
}

const rsProviderHost = "idp.example.com" // a name that httptest's certificate has

// newRSProvider starts a provider whose key set has the key es.
func newRSProvider(t *testing.T) *rsProvider {
	t.Helper()
	p := &rsProvider{
		t: t, keys: make(map[string]crypto.Signer), shown: []string{"es"},
		algs: map[string]jose.SignatureAlgorithm{"es": jose.ES256, "new": jose.ES256, "rs": jose.RS256, "ed": jose.EdDSA},
	}
	var err error
	for _, kid := range []string{"es", "new", "rs", "ed"} {
		switch p.algs[kid] {
		case jose.RS256:
			p.keys[kid], err = rsa.GenerateKey(rand.Reader, 2048)
		case jose.EdDSA:
			_, p.keys[kid], err = ed25519.GenerateKey(rand.Reader)
		default:
			p.keys[kid], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewTLSServer(p)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p.issuer = "https://" + net.JoinHostPort(rsProviderHost, port)
	p.roots = x509.NewCertPool()
	p.roots.AddCert(server.Certificate())
	return p
}

// ServeHTTP implements [http.Handler].
func (p *rsProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	shown, answer, change := p.shown, p.answer, p.change
	p.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		p.discoveries.Add(1)
		document := map[string]string{"issuer": p.issuer, "jwks_uri": p.issuer + "/keys"}
		if change != nil {
			change(document)
		}
		_ = json.NewEncoder(w).Encode(document)
	case "/keys":
		p.fetches.Add(1)
		if answer != nil {
			answer(w, r)
			return
		}
		_, _ = w.Write(p.set(shown))
	default:
		http.NotFound(w, r)
	}
}

func (p *rsProvider) set(kids []string) []byte {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, kid := range kids {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: p.keys[kid].Public(), KeyID: kid, Algorithm: string(p.algs[kid]), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		p.t.Error(err)
	}
	return text
}

// show makes a key set of these keys.
func (p *rsProvider) show(kids ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = kids
}

// answers answers something else in place of the key set; nil is the key set again.
func (p *rsProvider) answers(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = h
}

// LookupNetIP implements egress.Resolver.
func (p *rsProvider) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// providers are the keys of the identity providers of a node's view.
func (w *rsWorld) providers(holder *view.Holder, p *rsProvider) *providers.Keys {
	w.t.Helper()
	c := providers.Config{View: holder, Log: slog.New(slog.DiscardHandler), Failed: func(context.Context, string) { w.failed.Add(1) }}
	if p != nil {
		c.RootCAs = p.roots
		c.Egress = egress.Policy{Resolver: p, Exceptions: []egress.Exception{{Host: rsProviderHost, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}}
	}
	keys, err := providers.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return keys
}

// provided is the identity provider as nodes know it.
func (p *rsProvider) provided() *view.Provider {
	return &view.Provider{
		Name: "okta", UID: "uid-okta", Issuer: p.issuer, ClientID: "penstock-login", Algorithms: []string{"ES256", "RS256", "PS256", "EdDSA"},
		MaxTokenAge: 24 * time.Hour, RequiredClaims: map[string]string{"tid": "t1"},
	}
}

// accepts is how a gateway accepts tokens that the provider issued for it.
func (p *rsProvider) accepts(gateway string, change ...func(*view.JWKSIssuer)) []view.JWKSIssuer {
	i := view.JWKSIssuer{Provider: "okta", Audiences: []string{rsOrigin + "/v1/mcp/" + gateway}, SubjectClaim: "sub", ScopeClaims: compile.DefaultScopeClaims()}
	for _, f := range change {
		f(&i)
	}
	return []view.JWKSIssuer{i}
}

// token is an access token of u1 for A that lives for an hour, signed with a key; changes of nil take something away, those with
// "h:" in front are of the header.
func (p *rsProvider) token(kid string, changes map[string]any) string {
	p.t.Helper()
	claims := map[string]any{
		"iss": p.issuer, "sub": "sub-1", "aud": rsRA, "client_id": "client-1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
		"jti": rand.Text(), "scope": "mcp", "tid": "t1",
	}
	header := map[string]any{"kid": kid, "typ": "at+jwt"}
	for name, v := range changes {
		if of, ok := cutHeader(name); ok {
			header[of] = v
		} else {
			claims[name] = v
		}
	}
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
	options := &jose.SignerOptions{}
	for name, v := range header {
		options = options.WithHeader(jose.HeaderKey(name), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.algs[kid], Key: p.keys[kid]}, options)
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := signer.Sign(body)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func cutHeader(name string) (string, bool) {
	if len(name) > 2 && name[:2] == "h:" {
		return name[2:], true
	}
	return name, false
}
