// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// assertingManifests is a provider whose assertions count, a client that brings them, and two gateways: tools, which takes them
// and nothing else, and browser, which takes logins and nothing else.
func assertingManifests(issuer, upstream string) string {
	const gateway = `
kind: Gateway
name: %s
visibility: {organization: {}}
authentication: %s
tools:
- {tool: bench/echo, pinned: {connection: bench}}
---`
	return fmt.Sprintf(`
kind: IdentityProvider
name: example
issuer: %q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
just_in_time_users: true
email_domains: [example.com]
id_jag: {max_lifetime: 300s}
---
kind: OAuthClient
name: agent
authentication: CLIENT_SECRET
---
kind: Server
name: bench
streamable_http: {url: %q}
visibility: {organization: {}}
---
kind: Connection
name: bench
server: bench
owner: {organization: {}}
---`, issuer, upstream) +
		fmt.Sprintf(gateway, "tools", "{id_jag: {identity_providers: [example]}}") + fmt.Sprintf(gateway, "browser", "{oauth: {}}")
}

// agent is the client, with what it found out of the gateway's URL alone.
type agent struct {
	t        *testing.T
	gateway  string
	secret   string
	metadata struct {
		Issuer   string   `json:"issuer"`
		Token    string   `json:"token_endpoint"`
		Grants   []string `json:"grant_types_supported"`
		Profiles []string `json:"authorization_grant_profiles_supported"`
	}
}

// discover reads the metadata that the challenge of the gateway leads to.
func (a *agent) discover() {
	a.t.Helper()
	challenge := sendForm(a.t, http.DefaultClient, http.MethodPost, a.gateway, nil, nil).header.Get("WWW-Authenticate")
	_, rest, _ := strings.Cut(challenge, `resource_metadata="`)
	at, _, _ := strings.Cut(rest, `"`)
	var resource struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	sendForm(a.t, http.DefaultClient, http.MethodGet, at, nil, nil).decode(a.t, &resource)
	if resource.Resource != a.gateway || len(resource.Servers) != 1 {
		a.t.Fatalf("the metadata of the resource are %+v", resource)
	}
	a.metadata.Grants, a.metadata.Profiles = nil, nil
	sendForm(a.t, http.DefaultClient, http.MethodGet, resource.Servers[0]+"/.well-known/oauth-authorization-server", nil, nil).decode(a.t, &a.metadata)
}

// advertised reports whether the metadata offer what the client came for (AS-8, AS-9).
func (a *agent) advertised() bool {
	return slices.Contains(a.metadata.Grants, jwtBearer) && slices.Contains(a.metadata.Profiles, "urn:ietf:params:oauth:grant-profile:id-jag")
}

func (a *agent) redeem(assertion string) replied {
	a.t.Helper()
	return sendForm(a.t, http.DefaultClient, http.MethodPost, a.metadata.Token, url.Values{"grant_type": {jwtBearer}, "assertion": {assertion}}, []string{"agent", a.secret})
}

// refused checks that an assertion is, with the one answer for all that is wrong with it.
func (a *agent) refused(what, assertion string) {
	a.t.Helper()
	const want = `{"error":"invalid_grant","error_description":"The assertion is not accepted. Get a new one from the identity provider, or ask your administrator."}`
	if got := a.redeem(assertion); got.status != http.StatusBadRequest || strings.TrimSpace(got.body) != want {
		a.t.Errorf("%s: %d %s", what, got.status, got.body)
	}
}

// TestIdentityAssertion is Enterprise-Managed Authorization from end to end (auth.md §6a): a client exchanges the ID token of
// somebody whom Penstock has never heard of for an assertion of her organisation's provider, redeems it, and works. It is over
// when an administrator says so.
func TestIdentityAssertion(t *testing.T) {
	a := newAlone(t)
	ada := person{Username: "ada", Email: "ada@example.com", Password: rand.Text()}
	gus := person{Username: "gus", Email: "gus@elsewhere.example", Password: rand.Text()}
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	provider := newProvider(t, a.endpoints().Authserver+"/login/callback/example", map[string]person{"engineering": ada, "guests": gus})
	provider.app.idAtPenstock = "agent"
	provider.up()
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	manifests := assertingManifests(provider.issuer(), newUpstream(t, "").URL)
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{dir: a.home, env: []string{portOffset(a.offset), "PROVIDER_SECRET=" + provider.secret}}
	if got := run(t, o, "penstock", "apply", "-f", file, "--discover", "--wait"); got.code != 0 {
		t.Fatalf("apply: exit code %d\n%s", got.code, got.stderr)
	}
	made := a.cli("oauth-client", "create-secret", "agent")
	g := &agent{t: t, gateway: a.endpoints().MCP + "tools", secret: strings.TrimSpace(made.stdout)}
	g.discover()
	if !g.advertised() {
		t.Errorf("the metadata are %+v", g.metadata)
	}

	idToken := provider.signIn(t, ada)
	assertion := provider.exchange(t, idToken, g.metadata.Issuer, g.gateway)
	answer := g.redeem(assertion)
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Type    string `json:"token_type"`
		Expires int    `json:"expires_in"`
		Scope   string `json:"scope"`
	}
	answer.decode(t, &got)
	if answer.status != http.StatusOK || got.Type != "Bearer" || got.Expires != 900 || got.Scope != "mcp" || got.Refresh != "" {
		t.Fatalf("the assertion is answered with %d %s", answer.status, answer.body)
	}
	if !a.hasUser(ada) {
		t.Error("the user was not made")
	}
	listAndCall(t, g.gateway, got.Access)
	if err := (caller{url: g.gateway, token: got.Access}).echo(t.Context(), "bench__echo"); err != nil {
		t.Errorf("call a tool: %v", err)
	}

	if again := g.redeem(assertion); again.status != http.StatusBadRequest || !strings.Contains(again.body, `"invalid_grant"`) {
		t.Errorf("a second time: %d %s", again.status, again.body)
	}
	browser := a.endpoints().MCP + "browser"
	g.refused("for a gateway that takes logins", provider.exchange(t, idToken, g.metadata.Issuer, browser))
	g.refused("for another server", provider.exchange(t, idToken, "https://other.example", g.gateway))
	g.refused("an ID token", idToken)
	g.refused("somebody of another domain", provider.exchange(t, provider.signIn(t, gus), g.metadata.Issuer, g.gateway))
	if a.hasUser(gus) {
		t.Error("somebody of another domain became a user")
	}

	// Switched off, the token is none, and no assertion gets another.
	t.Run("off", func(t *testing.T) {
		g.t, a.t = t, t
		defer func() { a.t = p.t }()
		a.apply("{kind: Gateway, name: tools, visibility: {organization: {}}, authentication: {oauth: {}}}\n")
		want := fmt.Sprintf(`Bearer resource_metadata="http://%s/.well-known/oauth-protected-resource/v1/mcp/tools", scope="mcp", error="invalid_token", error_description="The access token is invalid or expired"`, address(8080+a.offset))
		eventually(t, 5*time.Second, func() error {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.gateway, strings.NewReader("{}"))
			if err != nil {
				return err
			}
			r.Header.Set("Authorization", "Bearer "+got.Access)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			_ = res.Body.Close()
			if got := res.Header.Get("WWW-Authenticate"); res.StatusCode != http.StatusUnauthorized || got != want {
				return fmt.Errorf("status %d, challenge %s", res.StatusCode, got)
			}
			return nil
		})
		g.refused("for a gateway that takes none any more", provider.exchange(t, idToken, g.metadata.Issuer, g.gateway))
		eventually(t, 5*time.Second, func() error {
			if g.discover(); g.advertised() {
				return errors.New("assertions are still advertised")
			}
			return nil
		})
	})
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), ada.Password, gus.Password, provider.secret, g.secret, got.Access, assertion, idToken)
}
