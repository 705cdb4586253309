// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// identityProvider is a real OpenID provider, zitadel's example, on a port of this machine. It tells groups.
type identityProvider struct {
	t       *testing.T
	secret  string // of Penstock as its client
	addr    string
	handler http.Handler
	server  *http.Server
	mute    atomic.Bool // its token endpoint cuts off who asks
	op      *op.Provider
	app     registration // of a client whose assertions it makes
}

// groupsOf is the provider's storage, which says in ID tokens and UserInfo which groups people are in.
type groupsOf struct {
	*storage.Storage

	groups map[string][]string // by subject
}

// SetUserinfoFromRequest implements op.CanSetUserinfoFromRequest: what is in ID tokens.
func (g groupsOf) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	if err := g.Storage.SetUserinfoFromRequest(ctx, info, request, scopes); err != nil {
		return err
	}
	info.AppendClaims("groups", g.groups[request.GetSubject()])
	return nil
}

// newProvider prepares a provider whose people have a group each; redirect is Penstock's callback. It is down.
func newProvider(t *testing.T, redirect string, people map[string]person) *identityProvider {
	t.Helper()
	return newProviderWith(t, redirect, people, func(s groupsOf) exampleop.Storage { return s })
}

// newProviderWith prepares a provider whose storage is made of the one of [newProvider].
func newProviderWith(t *testing.T, redirect string, people map[string]person, wrap func(groupsOf) exampleop.Storage) *identityProvider {
	t.Helper()
	users, groups := map[string]*storage.User{}, map[string][]string{}
	for group, who := range people {
		users[group] = &storage.User{
			ID: group, Username: who.Username, Password: who.Password, FirstName: "Somebody", LastName: group, Email: who.Email, EmailVerified: true,
		}
		groups[group] = []string{"everybody", group}
	}
	text, err := json.Marshal(users) //nolint:gosec // passwords of the test, which the provider is to know
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := storage.StoreFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &identityProvider{t: t, secret: rand.Text(), addr: address(freePort(t))}
	storage.RegisterClients(storage.WebClient("penstock", p.secret, redirect))
	p.app = registration{idAtProvider: "app", secret: rand.Text(), callback: p.issuer() + "/app"}
	storage.RegisterClients(storage.WebClient(p.app.idAtProvider, p.app.secret, p.app.callback))
	p.handler = exampleop.SetupServer(p.issuer(), wrap(groupsOf{storage.NewStorage(store), groups}), nil, false, func(made *op.Provider) error {
		p.op = made
		return nil
	})
	t.Cleanup(p.down)
	return p
}

func (p *identityProvider) issuer() string { return "http://" + p.addr }

func (p *identityProvider) up() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) { _ = s.Serve(l) }(p.server) // down ends it
}

// ServeHTTP implements [http.Handler].
func (p *identityProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth/token" && p.mute.Load() {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path == "/oauth/token" && r.FormValue("requested_token_type") == idJAGType {
		op.NewIssuerInterceptor(p.op.IssuerFromRequest).HandlerFunc(p.assert)(w, r)
		return
	}
	p.handler.ServeHTTP(w, r)
}

func (p *identityProvider) down() {
	if p.server != nil {
		_ = p.server.Close() // everything is cut off
	}
}

// providerManifests is the provider, whom the people of its group engineering come from, and a gateway for their team.
func providerManifests(issuer, upstream string) string {
	return fmt.Sprintf(`
kind: Team
name: eng
---
kind: IdentityProvider
name: example
display_name: Example Login
issuer: %q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
just_in_time_users: true
email_domains: [example.com]
group_mappings: [{group: engineering, team: eng}]
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
---
kind: Gateway
name: tools
visibility: {team: {teams: [eng]}}
authentication: {oauth: {}}
tools:
- {tool: bench/echo, pinned: {connection: bench}}
`, issuer, upstream)
}

// TestIdentityProviderLogin: people whom Penstock has never heard of log in at their organisation's provider (AZ-10), get into
// the team of their group (AZ-24), and are out when an administrator says so.
func TestIdentityProviderLogin(t *testing.T) {
	a := newAlone(t)
	people := map[string]person{
		"engineering": {Username: "ada", Email: "ada@example.com", Password: rand.Text()},
		"sales":       {Username: "sam", Email: "sam@example.com", Password: rand.Text()},
		"guests":      {Username: "gus", Email: "gus@elsewhere.example", Password: rand.Text()},
	}
	ada, sam, gus := people["engineering"], people["sales"], people["guests"]
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	provider := newProvider(t, a.endpoints().Authserver+"/login/callback/example", people)
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(providerManifests(provider.issuer(), newUpstream(t, "").URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{dir: a.home, env: []string{portOffset(a.offset), "PROVIDER_SECRET=" + provider.secret}}
	if got := run(t, o, "penstock", "apply", "-f", file, "--discover", "--wait"); got.code != 0 {
		t.Fatalf("apply: exit code %d\n%s", got.code, got.stderr)
	}
	const button = "Example Login"
	client := registerClient(t, a.endpoints().MCP+"tools")

	unreachable := func(when string) {
		if w := walkAll(t, ada, button, client.attempt().url)[0]; !strings.Contains(w.last(), "Logging in is not possible at the moment") {
			t.Errorf("%s the browser ended at %s: %s", when, w.Ended, w.last())
		}
	}
	unreachable("with the provider down")
	provider.up()
	provider.mute.Store(true)
	unreachable("with a provider that is gone when the person comes back")
	provider.mute.Store(false)
	before := a.revision()
	mistaken := ada
	mistaken.Password = "not " + ada.Password
	if w := walkAll(t, mistaken, button, client.attempt().url)[0]; !strings.HasPrefix(w.Ended, provider.issuer()) || !strings.Contains(w.last(), "wrong") {
		t.Errorf("with a wrong password the browser ended at %s: %s", w.Ended, w.last())
	}
	if after := a.revision(); after != before || a.hasUser(ada) {
		t.Errorf("a wrong password led from revision %s to %s", before, after)
	}

	got := a.firstLogin(client, ada, button)
	before = a.revision()
	again := client.attempt()
	if err := client.caller(client.redeem(again, walkAll(t, ada, button, again.url)[0])).echo(t.Context(), "bench__echo"); err != nil {
		t.Errorf("call after the second login: %v", err)
	}
	if after := a.revision(); after != before {
		t.Errorf("the second login led from revision %s to %s", before, after)
	}

	t.Run("no group of ours", func(t *testing.T) {
		w := walkAll(t, sam, button, client.attempt().url)[0]
		if u := client.answer(attempt{state: stateOf(t, w)}, w); u.Get("error") != "access_denied" || !a.hasUser(sam) {
			t.Errorf("the client got %q; the user is there: %t", u.Get("error"), a.hasUser(sam))
		}
	})
	t.Run("no domain of ours", func(t *testing.T) {
		w := walkAll(t, gus, button, client.attempt().url)[0]
		if !strings.Contains(w.last(), "You may not log in here") || a.hasUser(gus) {
			t.Errorf("the browser ended at %s: %s", w.Ended, w.last())
		}
	})
	t.Run("deactivated", func(t *testing.T) { a.deactivated(client, ada, got, button) })
	p.stop()
	noSecrets(t, []*program{p}, databases(t, a.data), ada.Password, sam.Password, gus.Password, provider.secret, got.Access, got.Refresh)
}

// firstLogin logs somebody in whom Penstock does not know yet, calls a tool and returns the tokens, a refresh later.
func (a *alone) firstLogin(c *oauthClient, who person, button string) tokens {
	a.t.Helper()
	first := c.attempt()
	w := walkAll(a.t, who, button, first.url)[0]
	got := c.redeem(first, w)
	if err := c.caller(got).echo(a.t.Context(), "bench__echo"); err != nil {
		a.t.Errorf("call after the first login: %v", err)
	}
	if !a.hasUser(who) || !strings.Contains(strings.Join(w.Seen, "\n"), "It will be able to") {
		a.t.Errorf("the user is there: %t; the pages were %q", a.hasUser(who), w.Seen)
	}
	next, err := c.refresh(got)
	if err != nil || next.Access == "" {
		a.t.Fatalf("refresh: %q, %v", next.Error, err)
	}
	return next
}

// deactivated deactivates somebody by manifest: calls end within 5 s, and neither a refresh nor a login brings them back.
func (a *alone) deactivated(c *oauthClient, who person, t tokens, button string) {
	a.t.Helper()
	a.apply(fmt.Sprintf("{kind: User, name: %s, deactivated: true}\n", who.Email))
	eventually(a.t, 5*time.Second, func() error {
		if c.caller(t).echo(a.t.Context(), "bench__echo") == nil {
			return fmt.Errorf("a call of somebody deactivated works")
		}
		return nil
	})
	if next, err := c.refresh(t); err != nil || next.Error != "invalid_grant" || next.Access != "" {
		a.t.Errorf("refresh: %q, %v, want invalid_grant", next.Error, err)
	}
	if w := walkAll(a.t, who, button, c.attempt().url)[0]; !strings.Contains(w.last(), "You may not log in here") {
		a.t.Errorf("the browser of somebody deactivated ended at %s: %s", w.Ended, w.last())
	}
}

// revision is the newest revision of the configuration.
func (a *alone) revision() string {
	a.t.Helper()
	got := a.cli("wait")
	if got.code != 0 {
		a.t.Fatalf("penstock wait: exit code %d: %s", got.code, got.stderr)
	}
	return got.stdout
}

func (a *alone) hasUser(who person) bool {
	a.t.Helper()
	return a.cli("get", "user", who.Email).code == 0
}

// stateOf is the state that came to a callback: that of the only attempt there was.
func stateOf(t *testing.T, w walked) string {
	t.Helper()
	_, rest, _ := strings.Cut(w.Ended, "state=")
	state, _, _ := strings.Cut(rest, "&")
	return state
}
