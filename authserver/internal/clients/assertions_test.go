// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/assertion"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// signer makes assertions.
type signer struct {
	t   *testing.T
	kit *kit
	key any
	alg jose.SignatureAlgorithm
	kid string
}

// claims returns those of a good assertion, changed.
func (s signer) claims(id string, change map[string]any) map[string]any {
	c := map[string]any{"iss": id, "sub": id, "aud": issuer, "exp": s.kit.clock().Add(4 * time.Minute).Unix(), "jti": rand.Text()}
	for k, v := range change {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func (s signer) sign(claims map[string]any, typ string) url.Values {
	s.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", s.kid)
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: s.key}, options)
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := js.Sign(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	return url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {text}}
}

func keySet(t *testing.T, keys ...jose.JSONWebKey) string {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func p256(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAssertions(t *testing.T) {
	k := newKit(t)
	key := p256(t)
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, `,"token_endpoint_auth_method":"private_key_jwt","jwks":`+keySet(t, jose.JSONWebKey{Key: key.Public(), KeyID: "1"})))
	s := signer{t, k, key, jose.ES256, "1"}
	now := k.clock()
	for name, tc := range map[string]struct {
		change map[string]any
		typ    string
		ok     bool
	}{
		"good": {nil, "", true}, "aud a list of one": {map[string]any{"aud": []string{issuer}}, "", true},
		"aud the token endpoint": {map[string]any{"aud": endpoint}, "JWT", true}, "typ of the RFC": {nil, "client-authentication+jwt", true},
		"iat and nbf now":         {map[string]any{"iat": now.Unix(), "nbf": now.Unix()}, "", true},
		"row 100":                 {map[string]any{"aud": []string{issuer, "x"}}, "", false},
		"row 100, other":          {map[string]any{"aud": "https://other.example"}, "", false},
		"aud with a slash":        {map[string]any{"aud": issuer + "/"}, "", false},
		"no aud":                  {map[string]any{"aud": nil}, "", false},
		"row 101, exp":            {map[string]any{"exp": now.Add(time.Hour).Unix()}, "", false},
		"exp over":                {map[string]any{"exp": now.Add(-time.Minute).Unix()}, "", false},
		"no exp":                  {map[string]any{"exp": nil}, "", false},
		"no jti":                  {map[string]any{"jti": nil}, "", false},
		"long jti":                {map[string]any{"jti": strings.Repeat("a", 257)}, "", false},
		"iss of another":          {map[string]any{"iss": "desktop"}, "", false},
		"no iss":                  {map[string]any{"iss": nil}, "", false},
		"sub of another":          {map[string]any{"sub": "desktop"}, "", false},
		"no sub":                  {map[string]any{"sub": nil}, "", false},
		"nbf ahead":               {map[string]any{"nbf": now.Add(time.Hour).Unix()}, "", false},
		"iat ahead":               {map[string]any{"iat": now.Add(time.Hour).Unix()}, "", false},
		"a token of another kind": {nil, "at+jwt", false},
		"an ID-JAG":               {nil, "oauth-id-jag+jwt", false},
	} {
		t.Run(name, func(t *testing.T) {
			k.pass(time.Second * 15) // failures wear off
			c := s.claims(id, tc.change)
			if tc.change["exp"] == nil && name != "no exp" {
				c["exp"] = k.clock().Add(4 * time.Minute).Unix()
			}
			got, err := k.ask("", s.sign(c, tc.typ))
			if tc.ok {
				if err != nil || got.ID != id {
					t.Errorf("got %v", err)
				}
				return
			}
			answer(t, err, 401, oauthfault.InvalidClient)
		})
	}
	if !strings.Contains(k.log.String(), "client assertion made for the token endpoint") {
		t.Error("an assertion for the token endpoint is not logged")
	}

	// auth.md §16, CIMD 74.
	_, err := k.ask("", url.Values{"client_id": {id}})
	answer(t, err, 401, oauthfault.InvalidClient)

	form := s.sign(s.claims(id, nil), "")
	form.Set("client_id", "desktop")
	_, err = k.ask("", form)
	answer(t, err, 401, oauthfault.InvalidClient)
	other := signer{t, k, p256(t), jose.ES256, "1"}
	_, err = k.ask("", other.sign(other.claims(id, nil), ""))
	answer(t, err, 401, oauthfault.InvalidClient)
	// Row 101: a public key is no secret.
	public, err := (&jose.JSONWebKey{Key: key.Public()}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	symmetrical := signer{t, k, public, jose.HS256, "1"}
	_, err = k.ask("", symmetrical.sign(s.claims(id, nil), ""))
	answer(t, err, 401, oauthfault.InvalidClient)
	none := "eyJhbGciOiJub25lIn0." + strings.Split(form.Get("client_assertion"), ".")[1] + "."
	_, err = k.ask("", url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {none}})
	answer(t, err, 401, oauthfault.InvalidClient)
	// A client without keys, or with a secret, has nothing to sign with.
	for _, id := range []string{"desktop", "backend"} {
		_, err = k.ask("", s.sign(s.claims(id, nil), ""))
		answer(t, err, 401, oauthfault.InvalidClient)
	}
	if strings.Contains(k.log.String(), form.Get("client_assertion")) {
		t.Error("the log has an assertion")
	}
}

func TestAssertionSwitch(t *testing.T) {
	k := newKit(t, func(c *clients.Config) { c.TokenEndpointAudience = false })
	key := p256(t)
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, `,"jwks":`+keySet(t, jose.JSONWebKey{Key: key.Public()})))
	s := signer{t, k, key, jose.ES256, "any"}
	_, err := k.ask("", s.sign(s.claims(id, map[string]any{"aud": endpoint}), ""))
	answer(t, err, 401, oauthfault.InvalidClient)
	// CIMD-11: a public client with keys may use them, and is refused if it does so wrongly.
	if _, err := k.ask("", s.sign(s.claims(id, nil), "")); err != nil {
		t.Error(err)
	}
	if _, err := k.ask("", url.Values{"client_id": {id}}); err != nil {
		t.Error(err)
	}
}

// auth.md §16, Token 101: once, whoever races.
func TestAssertionIsUsedOnce(t *testing.T) {
	k := newKit(t)
	key := p256(t)
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, `,"token_endpoint_auth_method":"private_key_jwt","jwks":`+keySet(t, jose.JSONWebKey{Key: key.Public()})))
	s := signer{t, k, key, jose.ES256, "1"}
	form := s.sign(s.claims(id, nil), "")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 8 {
		wg.Go(func() {
			if _, err := k.ask("", form); err == nil {
				mu.Lock()
				defer mu.Unlock()
				won++
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 went through", won)
	}
	k.pass(3 * time.Minute)
	_, err := k.ask("", form)
	answer(t, err, 401, oauthfault.InvalidClient)
	if _, err := k.ask("", s.sign(s.claims(id, nil), "")); err != nil {
		t.Errorf("a new one: %v", err)
	}
	// Without the store, none is used.
	form = s.sign(s.claims(id, nil), "")
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = k.ask("", form); err == nil {
		t.Error("an assertion goes through without a store")
	} else if e := oauthfault.From(err); e.Code == oauthfault.InvalidClient {
		t.Errorf("a store that is away is the client's fault: %v", err)
	}
}

func TestAlgorithms(t *testing.T) {
	k := newKit(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey := p256(t)
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, `,"jwks_uri":"`+k.web.URL("keys.example", "/j")+`"`))
	k.web.Serve(k.web.URL("keys.example", "/j"), keySet(t,
		jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "r"}, jose.JSONWebKey{Key: edPublic, KeyID: "e"}, jose.JSONWebKey{Key: ecKey.Public(), KeyID: "c"}))
	for _, tc := range []struct {
		key any
		alg jose.SignatureAlgorithm
		kid string
		ok  bool
	}{
		{rsaKey, jose.RS256, "r", true},
		{rsaKey, jose.PS256, "r", true},
		{edKey, jose.EdDSA, "e", true},
		{ecKey, jose.ES256, "c", true},
		{rsaKey, jose.RS512, "r", false},
		{rsaKey, jose.RS256, "c", false},
	} {
		s := signer{t, k, tc.key, tc.alg, tc.kid}
		if _, err := k.ask("", s.sign(s.claims(id, nil), "")); (err == nil) != tc.ok {
			t.Errorf("%s with key %s: got %v", tc.alg, tc.kid, err)
		}
	}
	if n := k.web.Requests(k.web.URL("keys.example", "/j")); n != 1 {
		t.Errorf("the key set was asked for %d times", n)
	}
}

// A key that is new at jwks_uri is found, and a stranger's kid does not make requests.
func TestKeyRotation(t *testing.T) {
	k := newKit(t)
	older, newer := p256(t), p256(t)
	id, uri := k.web.URL("client.example", "/c.json"), k.web.URL("keys.example", "/j")
	k.web.Serve(id, document(id, `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+uri+`"`))
	k.web.Serve(uri, keySet(t, jose.JSONWebKey{Key: older.Public(), KeyID: "1"}))
	one, two := signer{t, k, older, jose.ES256, "1"}, signer{t, k, newer, jose.ES256, "2"}
	if _, err := k.ask("", one.sign(one.claims(id, nil), "")); err != nil {
		t.Fatal(err)
	}
	k.web.Serve(uri, keySet(t, jose.JSONWebKey{Key: newer.Public(), KeyID: "2"}))
	_, err := k.ask("", two.sign(two.claims(id, nil), "")) // within a minute of the last fetch
	answer(t, err, 401, oauthfault.InvalidClient)
	k.pass(time.Minute)
	if _, err := k.ask("", two.sign(two.claims(id, nil), "")); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if n := k.web.Requests(uri); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	for range 5 {
		_, _ = k.ask("", one.sign(one.claims(id, nil), ""))
	}
	if n := k.web.Requests(uri); n != 2 {
		t.Errorf("a key that is gone made %d requests", n-2)
	}
}

// CIMD-5: the key set of a document is guarded as the document is; that of an administrator may be inside.
func TestKeySetsAreGuarded(t *testing.T) {
	key := p256(t)
	keys := keySet(t, jose.JSONWebKey{Key: key.Public(), KeyID: "1"})
	k := newKit(t)
	hidden := newKit(t).web // its addresses are open to nobody
	inside := hidden.URL("127.0.0.1", "/j")
	hidden.Serve(inside, keys)
	strict := k.web.Egress
	strict.Exceptions = strict.Exceptions[:1] // client.example
	k2 := newKit(t, func(c *clients.Config) { c.Egress, c.RootCAs = strict, k.web.RootCAs })

	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+k.web.URL("keys.example", "/j")+`"`))
	k.web.Serve(k.web.URL("keys.example", "/j"), keys)
	s := signer{t, k2, key, jose.ES256, "1"}
	_, err := k2.ask("", s.sign(s.claims(id, nil), ""))
	answer(t, err, 401, oauthfault.InvalidClient)
	if n := k.web.Requests(k.web.URL("keys.example", "/j")); n != 0 {
		t.Error("the key set of a document was fetched from inside")
	}
	if got := k2.events(t); len(got) != 2 || got[1] != "jwks.failed CLIENT_KEYS" {
		t.Errorf("got events %q", got)
	}

	admin := newKit(t, func(c *clients.Config) {
		c.RootCAs = hidden.RootCAs
		c.Egress.Exceptions = nil
		c.View = func() *directory.View {
			return directory.NewView(directory.Content{Clients: []*directory.Client{{
				UID: "u", Name: "backend", RedirectURIs: []string{"https://c.example/cb"}, Method: directory.MethodPrivateKeyJWT, JWKSURI: inside,
			}}})
		}
	})
	s = signer{t, admin, key, jose.ES256, "1"}
	if _, err := admin.ask("", s.sign(s.claims("backend", nil), "")); err != nil {
		t.Errorf("the key set that an administrator named: %v", err)
	}
}
