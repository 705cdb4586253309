// SPDX-License-Identifier: Apache-2.0

package oauthclient_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const issuer = "https://as.example/tenant"

// pemOf returns a private key as it is configured.
func pemOf(t *testing.T, key any) obs.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return obs.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func curve(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// RFC 7523 §3, OpenID Connect Core 1.0 §9: what an assertion says, and that each key signs with an algorithm that the server takes.
func TestAssertion(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256, big := curve(t, elliptic.P256()), rsaKey(t, 2048)
	for _, tt := range []struct {
		name  string
		key   crypto.Signer
		takes []string
		want  jose.SignatureAlgorithm
	}{
		{"P-256", p256, nil, jose.ES256},
		{"P-256, among others", p256, []string{"RS256", "ES256"}, jose.ES256},
		{"P-384", curve(t, elliptic.P384()), nil, jose.ES384},
		{"RSA", big, nil, jose.RS256},
		{"RSA, for a server of PSS", big, []string{"PS256", "ES256"}, jose.PS256},
		{"RSA, for a server of both", big, []string{"PS256", "RS256"}, jose.RS256},
		{"Ed25519", ed, []string{"EdDSA"}, jose.EdDSA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			seen := map[string]bool{}
			for range 2 {
				form := url.Values{}
				who := oauthclient.Identity{ID: "penstock", Method: oauthclient.MethodPrivateKey, Secret: pemOf(t, tt.key)}
				header, err := who.Authenticate(form, issuer, tt.takes, now)
				if err != nil {
					t.Fatal(err)
				}
				if len(header) != 0 || form.Get("client_id") != "penstock" || form.Has("client_secret") ||
					form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
					t.Errorf("header %v, client_id %q", header, form.Get("client_id"))
				}
				token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{tt.want})
				if err != nil {
					t.Fatal(err)
				}
				var c map[string]any
				if err := token.Claims(tt.key.Public(), &c); err != nil {
					t.Fatal(err)
				}
				if c["iss"] != "penstock" || c["sub"] != "penstock" || c["aud"] != issuer || // a string, no list
					c["iat"] != float64(now.Unix()) || c["exp"] != float64(now.Unix()+60) || len(c) != 6 {
					t.Errorf("the claims are %v", c)
				}
				jti, _ := c["jti"].(string)
				if len(jti) < 22 || seen[jti] {
					t.Errorf("jti is %q", jti)
				}
				seen[jti] = true
			}
		})
	}
}

// A key that cannot be used is refused with what mends it, and is in no error.
func TestKeyRefused(t *testing.T) {
	good := pemOf(t, curve(t, elliptic.P256())).Reveal()
	for _, tt := range []struct {
		name  string
		key   obs.Secret
		takes []string
		says  string
	}{
		{"nothing", "", nil, "not one key"},
		{"a secret", "s3cret-canary", nil, "not one key"},
		{"two keys", obs.Secret(good + good), nil, "not one key"},
		{"SEC 1", obs.Secret(strings.ReplaceAll(good, "PRIVATE KEY", "EC PRIVATE KEY")), nil, "not one key"},
		{"no key inside", "-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----", nil, "cannot be read"},
		{"P-521", pemOf(t, curve(t, elliptic.P521())), nil, "use P-256"},
		{"RSA of 1024 bits", pemOf(t, rsaKey(t, 1024)), nil, "use P-256"},
		{"none that the server takes", obs.Secret(good), []string{"RS256"}, "which makes ES256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := oauthclient.Identity{ID: "penstock", Method: oauthclient.MethodPrivateKey, Secret: tt.key}
			_, err := who.Authenticate(url.Values{}, issuer, tt.takes, time.Now())
			f := fault.From(err)
			if err == nil || f.Kind != fault.Precondition || f.Reason != oauthclient.ReasonClient || !strings.Contains(f.Public, tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if err != nil && tt.key != "" && strings.Contains(err.Error(), tt.key.Reveal()) {
				t.Error("the key is in the error")
			}
		})
	}
}

// RFC 6749 §2.3.1: the other methods.
func TestAuthenticate(t *testing.T) {
	for _, tt := range []struct {
		method, basic, form string
	}{
		{oauthclient.MethodNone, "", "client_id=pen+stock"},
		{oauthclient.MethodPost, "", "client_id=pen+stock&client_secret=a%2Fb%3A"},
		{oauthclient.MethodBasic, "pen+stock a%2Fb%3A", ""},
	} {
		form := url.Values{}
		header, err := oauthclient.Identity{ID: "pen stock", Method: tt.method, Secret: "a/b:"}.Authenticate(form, issuer, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r := http.Request{Header: header}
		name, secret, _ := r.BasicAuth()
		if got := strings.TrimSpace(name + " " + secret); got != tt.basic || form.Encode() != tt.form {
			t.Errorf("%s: header %q, form %q", tt.method, got, form.Encode())
		}
	}
}
