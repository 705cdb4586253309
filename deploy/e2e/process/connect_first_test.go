// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
)

// hiddenServer is a server whose credential is a grant, and a person who will call it; nothing of its tools is known.
func hiddenServer(upstream string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
---
kind: Server
name: tasks
streamable_http: {url: %q}
credential: {oauth: {client_id: penstock, client_secret: {from_env: CLIENT_SECRET}, scopes: [openid, offline_access]}}
visibility: {organization: {}}
own_connections_only: true
`, upstream)
}

const toolsGateway = `
kind: Gateway
name: tools
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: tasks/echo, resolve_at_call_time: {}}
`

// TestConnectBeforeDiscovery is how an administrator starts with a server that shows its tools to nobody without a token: the discovery
// names the command that prints a link, the link is for the administrator's browser, and what is connected there lists the tools. The
// grant is the administrator's alone: whoever calls the tools connects the server as ever.
func TestConnectBeforeDiscovery(t *testing.T) {
	c := &connecting{t: t, fleet: newFleet(t)}
	people := map[string]person{
		"administration": {Username: "root", Email: "admin@penstock.local", Password: rand.Text()},
		"engineering":    {Username: "ada", Email: "ada@example.com", Password: rand.Text()},
	}
	c.as = newProviderWith(t, "http://"+address(8083+c.offset)+"/upstream/callback/tasks", people, func(g groupsOf) exampleop.Storage { return g })
	c.as.up()
	c.server = newGuarded(t, c.as)
	c.server.open.Store(false)
	programs := []*program{c.startIssuer("--egress.allow_loopback"), c.startControl(), c.startNode("node-a")}
	for _, port := range []int{9083, 9081, 9080} {
		ready(t, c.ops(port))
	}
	c.apply([]string{"CLIENT_SECRET=" + c.as.secret}, hiddenServer(c.server.URL))
	for _, who := range people {
		setPassword(t, options{env: []string{portOffset(c.offset), "PENSTOCK_TOKEN=" + readFile(t, c.path("admin.token"))}}, who)
	}

	const connect = "penstock server connect tasks"
	if got := c.cli(nil, "server", "discover", "tasks"); got.code != 1 || !strings.Contains(got.stderr, connect) {
		t.Fatalf("discover: exit code %d, want the command that connects: %s", got.code, got.stderr)
	}
	asked := c.cli(nil, strings.Fields(connect)[1:]...)
	link := strings.TrimSuffix(asked.stdout, "\n")
	if asked.code != 0 || !regexp.MustCompile(`^http://[^/]+/connect/[A-Za-z0-9_-]{22}$`).MatchString(link) || !strings.Contains(asked.stderr, "penstock server discover tasks") {
		t.Fatalf("connect: exit code %d, standard output %q, %s", asked.code, asked.stdout, asked.stderr)
	}
	if w := followLink(t, people["administration"], link); !strings.Contains(w.last(), "Connected. Go back to where you asked for the link") {
		t.Fatalf("the browser ended at %s: %s", w.Ended, strings.Join(w.Seen, "\n----\n"))
	}
	if found := c.must("server", "discover", "tasks"); !strings.Contains(found, "tasks/echo") {
		t.Fatalf("discover found %s", found)
	}

	c.apply(nil, toolsGateway)
	root, ada := c.newColleague(people["administration"], "administration"), c.newColleague(people["engineering"], "engineering")
	mine := c.works(root)
	c.connect(ada, c.refused(ada, "CREDENTIAL_MISSING"))
	hers := c.works(ada)
	if hers == mine {
		t.Error("ada calls with the token of the administrator")
	}
	secrets := append(c.opened, link[strings.LastIndexByte(link, '/')+1:], c.as.secret, root.token, ada.token)
	for _, token := range []string{mine, hers} {
		secrets = append(secrets, strings.TrimPrefix(token, "Bearer "))
	}
	for _, who := range people {
		secrets = append(secrets, who.Password)
	}
	for _, p := range programs {
		p.stop()
		checkLog(t, p)
	}
	noSecrets(t, programs, databases(t, c.dir), secrets...)
}
