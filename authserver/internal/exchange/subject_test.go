// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// FuzzPresented: whatever somebody brings, nothing but a JWT of the provider with an end is taken for the caller's access token, and
// never an identity assertion (JAU-8).
func FuzzPresented(f *testing.F) {
	const issuer = "https://idp.example"
	f.Add(`{"typ":"at+jwt"}`, `{"iss":"https://idp.example","sub":"ada","exp":32503680000}`)
	f.Add(`{"typ":"application/OAuth-ID-JAG+jwt"}`, `{"iss":"https://idp.example","exp":32503680000}`)
	f.Add(`{"typ":["at+jwt"]}`, `{"iss":null,"aud":[1],"exp":1e400}`)
	f.Add(`{}`, `{"iss":"https://idp.example","sub":"bob","exp":"x","aud":"x","scp":1}`)
	f.Add(`{"typ":"JWT","typ":"oauth-id-jag+jwt"}`, `{"iss":"x","ISS":"https://idp.example","exp":1}`)
	p := &directory.Provider{Name: "example", Issuer: issuer}
	view := directory.NewView(directory.Content{Users: []*directory.User{
		{User: compile.User{UID: "uid-bob", Name: "bob@example.com", Identities: []compile.Identity{{Issuer: issuer, Subject: "bob"}}}},
	}})
	f.Fuzz(func(t *testing.T, head, body string) {
		b64 := base64.RawURLEncoding.EncodeToString
		c, err := checkPresented(view, p, "uid-ada", obs.Secret(b64([]byte(head))+"."+b64([]byte(body))+".s"))
		if err != nil {
			return
		}
		var all, header map[string]any
		if json.Unmarshal([]byte(body), &all) != nil || json.Unmarshal([]byte(head), &header) != nil {
			t.Fatalf("%q.%q is taken", head, body)
		}
		if c.Issuer != issuer || c.Subject == "bob" || c.expires().IsZero() || strings.Contains(c.typ, "jag") {
			t.Fatalf("%q.%q is taken as %+v", head, body, c)
		}
	})
}
