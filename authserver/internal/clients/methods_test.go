// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"crypto/sha256"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// TK-17, TK-18: a client proves itself by the one method that it is registered with, even if it has what another one needs.
func TestOneMethod(t *testing.T) {
	key := p256(t)
	keys := []byte(keySet(t, jose.JSONWebKey{Key: key.Public(), KeyID: "1"}))
	secret := [][32]byte{sha256.Sum256([]byte("psc_both"))}
	k := newKit(t, func(c *clients.Config) {
		c.View = func() *directory.View {
			return directory.NewView(directory.Content{Clients: []*directory.Client{
				{UID: "u1", Name: "by-secret", RedirectURIs: []string{"https://c.example/cb"}, Method: directory.MethodClientSecret, SecretSHA256: secret, JWKS: keys},
				{UID: "u2", Name: "by-key", RedirectURIs: []string{"https://c.example/cb"}, Method: directory.MethodPrivateKeyJWT, SecretSHA256: secret, JWKS: keys},
			}})
		}
	})
	s := signer{t, k, key, jose.ES256, "1"}
	for id, bySecret := range map[string]bool{"by-secret": true, "by-key": false} {
		_, err := k.ask(basic(id, "psc_both"), nil)
		_, signed := k.ask("", s.sign(s.claims(id, nil), ""))
		if bySecret != (err == nil) || bySecret == (signed == nil) {
			t.Errorf("%s: by secret %v, by key %v", id, err, signed)
			continue
		}
		if bySecret {
			err = signed
		}
		answer(t, err, 401, oauthfault.InvalidClient)
	}
}
