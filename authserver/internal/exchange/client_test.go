// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// As whom Penstock exchanges tokens: the client that the server's administrator set, with its own secret or key and no other, else the
// one that people log in through.
func TestClients(t *testing.T) {
	idp := newProvider(t, "ada", "bob")
	key, err := rsa.GenerateKey(rand.Reader, 2048) // zitadel takes RS256
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
	for _, tt := range []struct {
		name  string
		how   func(w *world, x *directory.Exchange)
		check func(w *world, form url.Values, id, secret string, basic bool) bool
	}{
		{
			"the provider's", func(*world, *directory.Exchange) {},
			func(w *world, form url.Values, id, secret string, basic bool) bool {
				return basic && id == clientID && secret == w.idp.secret && !form.Has("client_id")
			},
		},
		{
			"the provider's, public", func(w *world, _ *directory.Exchange) { w.provider.SecretVersion = "" },
			func(_ *world, form url.Values, _, _ string, basic bool) bool {
				return !basic && form.Get("client_id") == clientID && !form.Has("client_secret")
			},
		},
		{
			"its own", func(w *world, x *directory.Exchange) {
				x.ClientID, x.SecretVersion = "crm client", w.put("s1", serverSecret)
			},
			func(_ *world, form url.Values, id, secret string, basic bool) bool {
				return basic && id == "crm+client" && secret == serverSecret && !form.Has("client_id")
			},
		},
		{
			"its own, public", func(_ *world, x *directory.Exchange) { x.ClientID = "crm" },
			func(_ *world, form url.Values, _, _ string, basic bool) bool {
				return !basic && form.Get("client_id") == "crm" && !form.Has("client_secret")
			},
		},
		{
			"its own, with a key", func(w *world, x *directory.Exchange) {
				x.ClientID, x.SecretVersion, x.PrivateKey = "crm", w.put("s1", private), true
			},
			func(w *world, form url.Values, _, _ string, basic bool) bool {
				object, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.RS256})
				if err != nil {
					return false
				}
				claims, err := object.Verify(key.Public())
				var c struct {
					Issuer   string `json:"iss"`
					Audience string `json:"aud"`
				}
				return err == nil && json.Unmarshal(claims, &c) == nil && c.Issuer == "crm" && c.Audience == w.idp.issuer && !basic
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, idp)
			w.signIn("ada")
			w.change(func(x *directory.Exchange) { tt.how(w, x) })
			answering(http.StatusOK, good())(w)
			_, _, err := w.resolve("ada", false)
			w.must(err)
			w.idp.mu.Lock()
			last := len(w.idp.forms) - 1
			form, header := w.idp.forms[last], w.idp.headers[last]
			w.idp.mu.Unlock()
			id, secret, basic := (&http.Request{Header: header}).BasicAuth()
			if !tt.check(w, form, id, secret, basic) {
				t.Errorf("sent: %v, as %q (%t)", form, id, basic)
			}
			w.checkSecrecy(private, strings.Split(private, "\n")[1])
		})
	}

	t.Run("a key that is none", func(t *testing.T) {
		w := newWorld(t)
		w.signIn("ada")
		w.change(func(x *directory.Exchange) {
			x.ClientID, x.SecretVersion, x.PrivateKey = "crm", w.put("s1", serverSecret), true
		})
		_, _, err := w.resolve("ada", false)
		w.refusedWith(err, fault.Precondition, oauthclient.ReasonClient,
			"What is stored as Penstock's private key is not one key, PKCS #8 in PEM: set client_secret anew.")
	})
}
