// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/clients/register"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Rows 100 and 101, TK-17: a client assertion at the token endpoint, good once.
func TestPrivateKeyJWT(t *testing.T) {
	b := newBench(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	must(t, err)
	b.content.Clients = append(b.content.Clients, &directory.Client{
		UID: "uid-signer", Name: "signer", Method: directory.MethodPrivateKeyJWT, JWKS: set, RedirectURIs: []string{"https://client.example/cb"},
	})
	b.publish()
	assertion := func(audience any, life time.Duration, jti string) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
		must(t, err)
		payload, err := json.Marshal(map[string]any{
			"iss": "signer", "sub": "signer", "aud": audience, "jti": jti, "iat": b.Now().Unix(), "exp": b.Now().Add(life).Unix(),
		})
		must(t, err)
		signed, err := s.Sign(payload)
		must(t, err)
		text, err := signed.CompactSerialize()
		must(t, err)
		return text
	}
	ask := func(text string) reply {
		code, _ := b.code("signer")
		return b.token(redeem("signer", code, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", text))
	}
	good := assertion(issuer, time.Minute, "1")
	if a := ask(good); a.status != http.StatusOK {
		t.Fatalf("a good assertion: %d %s", a.status, a.raw)
	}
	for name, text := range map[string]string{
		"101 replayed":         good,
		"100 two audiences":    assertion([]string{issuer, "x"}, time.Minute, "2"),
		"100 another server":   assertion("https://other.example", time.Minute, "3"),
		"101 an hour of life":  assertion(issuer, time.Hour, "4"),
		"no assertion at all":  "",
		"signature of nothing": good[:len(good)-6] + "AAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			if text == "" {
				code, _ := b.code("signer")
				refused(t, b.token(redeem("signer", code)), http.StatusUnauthorized, "invalid_client")
				return
			}
			refused(t, ask(text), http.StatusUnauthorized, "invalid_client")
		})
	}
}

// REG-9: tokens keep a client alive that registered itself; one whose registration is over gets invalid_client (REG-15).
func TestDynamicClient(t *testing.T) {
	b := newBench(t)
	id := register.Prefix + "x1"
	document, err := json.Marshal(map[string]any{
		"client_name": "X", "redirect_uris": []string{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	})
	must(t, err)
	b.update(func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateClient(ctx, store.Client{
			ID: id, Fingerprint: sha256.Sum256(document), Metadata: document, CreateTime: b.Now(), ExpireTime: b.Now().Add(time.Hour),
		})
		return err
	})
	a, _ := b.login(id)
	row, err := b.store.Client(t.Context(), id)
	must(t, err)
	if !row.UseTime.Equal(b.Now()) || !row.ExpireTime.Equal(b.Now().Add(30*24*time.Hour)) {
		t.Errorf("used %s, expires %s", row.UseTime, row.ExpireTime)
	}
	b.Advance(2 * time.Hour)
	if a = b.token(renew(id, a.Next)); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.raw)
	}
	row, err = b.store.Client(t.Context(), id)
	must(t, err)
	if !row.UseTime.Equal(b.Now()) {
		t.Errorf("used %s", row.UseTime)
	}
	b.Advance(31 * 24 * time.Hour)
	refused(t, b.token(renew(id, a.Next)), http.StatusUnauthorized, "invalid_client")
}
