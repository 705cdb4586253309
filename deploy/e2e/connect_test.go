// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestConnectFromACall: a call that needs a credential which its caller never gave answers with a link; the caller logs in, types the
// header that the server names, and the same call works with it (EL-3 to EL-5, G-12), in the name of nobody else.
func TestConnectFromACall(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	const password, secret = "correct horse battery staple", "canary-31c7-typed-by-ada"
	env.Apply(t, users("ada@penstock.test", "bob@penstock.test")+fmt.Sprintf(`---
kind: Server
name: rec
streamable_http: {url: %q}
credential: {static_headers: {names: [X-Api-Key]}}
visibility: {organization: {}}
own_connections_only: true
`, upstream.URL)+`---
kind: Connection
name: shared
server: rec
owner: {organization: {}}
secret_headers: {X-Api-Key: {from_file: secret/for-discovery}}
`)
	env.Discover(t, "rec", "shared")
	env.Apply(t, `
kind: Gateway
name: g
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: rec/echo, resolve_at_call_time: {}}
`)
	if _, err := env.Admin.Users.SetUserPassword(t.Context(), &adminv1.SetUserPasswordRequest{Name: "ada@penstock.test", Password: password}); err != nil {
		t.Fatal(err)
	}
	env.WaitEnforced(t)
	ada, bob := env.Token(t, testenv.OfUser("ada@penstock.test"), "g"), env.Token(t, testenv.OfUser("bob@penstock.test"), "g")
	env.WaitEnforced(t)
	call := func(token testenv.Token) string {
		t.Helper()
		return client(env, env.Nodes[0], "g", token.Text).Call(t, "rec__echo", `{"message":"hi"}`).Body
	}
	linkRE := regexp.MustCompile(regexp.QuoteMeta(env.Issuer) + `/connect/[A-Za-z0-9_-]{22}`)
	link := linkRE.FindString(call(ada))
	if link == "" {
		t.Fatalf("no link: %s", call(ada))
	}
	browser := newForms(t)
	page := browser.get(link)
	page = browser.post(page, env.Issuer+"/login/password", url.Values{"email": {"ada@penstock.test"}, "password": {password}})
	if !strings.Contains(page, "X-Api-Key") {
		t.Fatalf("no form: %s", page)
	}
	page = browser.post(page, link, url.Values{"header0": {secret}})
	if !strings.Contains(page, "Go back to your client") {
		t.Fatalf("not connected: %s", page)
	}
	env.WaitEnforced(t)
	upstream.Forget()
	works(t, "ada", client(env, env.Nodes[0], "g", ada.Text).Call(t, "rec__echo", `{"message":"hi"}`), "hi")
	for _, r := range upstream.Calls() {
		if got := r.Header.Get("X-Api-Key"); got != secret {
			t.Errorf("the upstream saw %q", got)
		}
	}
	if linkRE.FindString(call(bob)) == "" {
		t.Errorf("bob gets no link: %s", call(bob))
	}
	if strings.Contains(env.Log.String(), secret) || strings.Contains(env.Log.String(), link) {
		t.Error("the secret or the link is in the log")
	}
}
