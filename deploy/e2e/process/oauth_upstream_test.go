// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// guardedManifests are a server whose credential is a grant, two people, and a gateway whose tool runs with the caller's own.
func guardedManifests(upstream, credential string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
---
kind: User
name: bob@example.com
---
kind: User
name: cyd@example.com
---
kind: User
name: dan@example.com
---
kind: Server
name: tasks
display_name: Tasks
streamable_http: {url: %q}
credential: %s
visibility: {organization: {}}
own_connections_only: true
---
kind: Gateway
name: tools
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: tasks/echo, resolve_at_call_time: {}}
`, upstream, credential)
}

// connecting is a fleet whose people connect a guarded server.
type connecting struct {
	*fleet

	t       *testing.T
	server  *guarded
	as      *identityProvider
	storage *storage.Storage // of the authorization server
	opened  []string         // links, by what is secret in them
}

// colleague is somebody with an MCP client of hers that stays connected.
type colleague struct {
	person

	subject string // at the authorization server
	token   string
	clients map[string]*client.Client // by version
}

// newColleague makes a bearer token for somebody and connects clients of both eras with it.
func (c *connecting) newColleague(who person, subject string) *colleague {
	c.t.Helper()
	m := &colleague{person: who, subject: subject, token: c.must("token", "create", "--user", who.Email, "--gateway", "tools"), clients: map[string]*client.Client{}}
	c.must("wait")
	for version, options := range map[string][]client.ClientOption{
		modern: nil,
		legacy: {client.WithLegacyProtocolOnly()}, //nolint:staticcheck // what the newest version took away is what this tests
	} {
		s, err := transport.NewStreamableHTTP(c.gateway(8080, "tools"), transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + m.token}))
		if err != nil {
			c.t.Fatal(err)
		}
		one := client.NewClient(s, options...)
		c.t.Cleanup(func() { _ = one.Close() })
		if err := one.Start(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		if _, err := one.Initialize(c.t.Context(), mcp.InitializeRequest{Params: mcp.InitializeParams{
			ProtocolVersion: version, ClientInfo: mcp.Implementation{Name: "e2e-upstream", Version: "1"},
		}}); err != nil {
			c.t.Fatal(err)
		}
		m.clients[version] = one
	}
	return m
}

// call calls the tool with one of the clients and returns what it says.
func (c *connecting) call(m *colleague, version, message string) (text string, failed bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	result, err := m.clients[version].CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "tasks__echo", Arguments: map[string]any{"message": message}}})
	if err != nil {
		c.t.Fatalf("%s, %s: %v", m.Email, version, err)
	}
	all, err := json.Marshal(result)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(all), result.IsError
}

// refused calls with every client, wants a link from each, the reason, and nothing at the server, and returns one.
func (c *connecting) refused(m *colleague, reason string) (link string) {
	c.t.Helper()
	before := len(c.server.seen())
	for version := range m.clients {
		text, failed := c.call(m, version, "refused")
		link = regexp.MustCompile(`http://[^"\\ ]+/connect/[A-Za-z0-9_-]{22}`).FindString(text)
		if !failed || link == "" || !strings.Contains(text, `"retryable":true`) || !strings.Contains(text, `"type":"`+reason+`"`) {
			c.t.Fatalf("%s, %s: no link: %s", m.Email, version, text)
		}
	}
	if after := c.server.seen(); len(after) != before {
		c.t.Errorf("%s has no credential, and the server was called: %+v", m.Email, after[before:])
	}
	return link
}

// works calls with every client, and wants that the server saw the caller, with one token, which it returns.
func (c *connecting) works(m *colleague) (token string) {
	c.t.Helper()
	for version := range m.clients {
		message := m.subject + " " + rand.Text()
		if text, failed := c.call(m, version, message); failed || !strings.Contains(text, message) {
			c.t.Fatalf("%s, %s: %s", m.Email, version, text)
		}
		token = c.server.last(message, m.subject).token
	}
	return token
}

// connect has somebody open a link in Chromium, log in at Penstock and at the authorization server, and wants that it is done.
func (c *connecting) connect(m *colleague, link string) {
	c.t.Helper()
	openLink(c.t, m.person, link)
	c.opened = append(c.opened, link[strings.LastIndexByte(link, '/')+1:])
}

// TestOAuthUpstream is the whole way of a grant, through processes of their own with a real authorization server, a real browser and
// MCP clients of both eras that connect once: a call without a credential gets a link, and after the person has connected the same
// client's call works (G-13). A token that the server refuses is renewed (UP-5); a grant that ends is a link again, and a new one
// mends it. Nobody ever calls as anybody else: the server sees who it is (UP-9).
func TestOAuthUpstream(t *testing.T) {
	c := &connecting{t: t, fleet: newFleet(t)}
	people := map[string]person{
		"engineering": {Username: "ada", Email: "ada@example.com", Password: rand.Text()},
		"sales":       {Username: "bob", Email: "bob@example.com", Password: rand.Text()},
		"guests":      {Username: "cyd", Email: "cyd@example.com", Password: rand.Text()},
		"operations":  {Username: "dan", Email: "dan@example.com", Password: rand.Text()},
	}
	c.as = newProviderWith(t, "http://"+address(8083+c.offset)+"/upstream/callback/tasks", people, func(g groupsOf) exampleop.Storage {
		c.storage = g.Storage
		return g
	})
	c.as.up()
	c.server = newGuarded(t, c.as)
	programs := []*program{c.startIssuer("--egress.allow_loopback"), c.startControl(), c.startNode("node-a")}
	for _, port := range []int{9083, 9081, 9080} {
		ready(t, c.ops(port))
	}
	c.apply(nil, guardedManifests(c.server.URL, "{none: {}}"))
	c.server.open.Store(false)
	c.apply([]string{"CLIENT_SECRET=" + c.as.secret}, guardedManifests(c.server.URL, "{oauth: {client_id: penstock, client_secret: {from_env: CLIENT_SECRET}, scopes: [openid, offline_access]}}"))
	for _, who := range people {
		setPassword(t, options{env: []string{portOffset(c.offset), "PENSTOCK_TOKEN=" + readFile(t, c.path("admin.token"))}}, who)
	}
	ada, bob := c.newColleague(people["engineering"], "engineering"), c.newColleague(people["sales"], "sales")

	link := c.refused(ada, "CREDENTIAL_MISSING")
	c.refused(bob, "CREDENTIAL_MISSING")
	c.connect(ada, link)
	first := c.works(ada)
	link = c.refused(bob, "CREDENTIAL_MISSING") // ada's grant is no one else's
	c.connect(bob, link)
	bobs := c.works(bob)
	if bobs == first {
		t.Fatal("bob calls with the token of ada")
	}

	c.server.end(first)
	second := c.works(ada)
	if second == first || c.works(bob) != bobs {
		t.Error("the token that the server refused was not renewed, or another person's was")
	}

	if err := c.storage.TerminateSession(t.Context(), "sales", "penstock"); err != nil {
		t.Fatal(err)
	}
	c.server.end(bobs)
	link = c.refused(bob, "CREDENTIAL_DEAD")
	if c.works(ada) != second {
		t.Error("the end of bob's grant concerns ada")
	}
	c.connect(bob, link)
	anew := c.works(bob)
	if slices.Contains([]string{first, second, bobs}, anew) || c.works(ada) != second {
		t.Error("bob calls with a token of before, or his new grant concerns ada")
	}

	// Clients that can show a page are asked to.
	secrets := append(c.opened, c.as.secret, ada.token, bob.token)
	for subject, era := range map[string]string{"guests": "modern", "operations": "legacy"} {
		who := people[subject]
		token := c.must("token", "create", "--user", who.Email, "--gateway", "tools")
		c.must("wait")
		before := len(c.server.seen())
		driveOAuth(t, c.gateway(8080, "tools"), who.file(t), "connect.mjs", "MCP_ERA="+era, "MCP_TOKEN="+token, "OAUTH_TOOL=tasks__echo")
		for _, call := range c.server.seen()[before:] {
			if call.subject != subject {
				t.Errorf("the server saw %s as %s", who.Email, call.subject)
			}
			secrets = append(secrets, strings.TrimPrefix(call.token, "Bearer "))
		}
		secrets = append(secrets, token)
	}
	for _, p := range programs {
		p.stop()
		checkLog(t, p)
	}
	for _, token := range []string{first, second, bobs, anew} {
		secrets = append(secrets, strings.TrimPrefix(token, "Bearer "))
	}
	for _, who := range people {
		secrets = append(secrets, who.Password)
	}
	noSecrets(t, programs, databases(t, c.dir), secrets...)
}
