// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/penstockhq/penstock/deploy/e2e/testenv/collector"
)

// secretRun is a fleet into which a secret goes wherever there is a place for one, and what it leaves behind.
type secretRun struct {
	*fleet

	t          *testing.T
	known      canaries
	sink       *collector.Collector
	programs   []*program        // authserver, control plane, node
	said       map[string]string // what was printed, answered or written, by where
	made       map[string]string // what commands printed once
	argument   string            // of every call, and its result
	tokens     tokens            // the newest that a login gave
	as         *identityProvider // who logs people in, and authorizes for the server tasks
	heard      *overheard
	ada        person
	answers    chan url.Values // that came to the callback of the client of the provider
	callback   string
	keyed      *telling
	typed      *telling
	tasks      *guarded
	service    *telling          // for which Penstock is a client itself
	crm        *telling          // for which callers' tokens are exchanged
	events     *telling          // where events of the provider are polled
	given      *telling          // that takes the tokens that the provider gives callers
	atProvider map[string]string // secrets of Penstock at the provider, by client
}

// secretManifests has every field that takes a secret, out of the environment.
func (r *secretRun) secretManifests(credential string) string {
	everything := npmClient(r.t, "@modelcontextprotocol/server-everything/dist/index.js")
	return fmt.Sprintf(`
kind: User
name: ada@example.com
identities: [{issuer: %[1]q, subject: engineering}]
---
{kind: Team, name: eng, members: [{user: ada@example.com}]}
---
kind: IdentityProvider
name: example
display_name: Example Login
issuer: %[1]q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
gateway_tokens: true
token_exchange: {}
signing_algorithms: [RS256]
id_jag: {max_lifetime: 300s}
shared_signals: {poll_endpoint: %[11]q, poll_token: {from_env: POLL_TOKEN}}
---
{kind: OAuthClient, name: agent, authentication: CLIENT_SECRET}
---
kind: Server
name: keyed
streamable_http: {url: %[2]q}
credential: {static_headers: {}}
visibility: {organization: {}}
---
kind: Connection
name: keyed
server: keyed
owner: {organization: {}}
secret_headers: {X-Api-Key: {from_env: ADMIN_HEADER}}
---
kind: Server
name: typed
streamable_http: {url: %[3]q}
credential: {static_headers: {names: [Authorization]}}
visibility: {organization: {}}
own_connections_only: true
---
kind: Connection
name: typed
server: typed
owner: {organization: {}}
secret_headers: {Authorization: {from_env: SHARED_HEADER}}
---
kind: Server
name: local
stdio: {command: %[4]q, args: [%[5]q, stdio]}
credential: {static_env: {}}
visibility: {organization: {}}
---
kind: Connection
name: local
server: local
owner: {organization: {}}
secret_env: {API_KEY: {from_env: VARIABLE}}
---
kind: Server
name: broken
stdio: {command: /bin/sh, args: [-c, 'echo "$API_KEY is refused" >&2; echo "$API_KEY is refused"; exit 1']}
credential: {static_env: {}}
visibility: {organization: {}}
---
kind: Connection
name: broken
server: broken
owner: {organization: {}}
secret_env: {API_KEY: {from_env: REFUSED_VARIABLE}}
---
kind: Server
name: service
streamable_http: {url: %[8]q}
credential: {oauth_client_credentials: {client_id: account, client_secret: {from_env: ACCOUNT_SECRET}, scopes: [read]}}
visibility: {organization: {}}
---
{kind: Connection, name: service, server: service, owner: {organization: {}}}
---
kind: Server
name: crm
streamable_http: {url: %[9]q}
credential: {token_exchange: {identity_provider: example, audience: crm, scopes: [openid, email], client_id: exchanger, client_secret: {from_env: EXCHANGER_SECRET}}}
visibility: {organization: {}}
---
{kind: Connection, name: crm, server: crm, owner: {organization: {}}}
---
{kind: Connection, name: ada-crm, server: crm, owner: {user: ada@example.com}}
---
kind: Server
name: given
streamable_http: {url: %[10]q}
credential: {caller_idp_token: {identity_provider: example, audience: given}}
visibility: {organization: {}}
---
{kind: Connection, name: given, server: given, owner: {organization: {}}}
---
{kind: Connection, name: ada-given, server: given, owner: {user: ada@example.com}}
---
kind: Server
name: tasks
streamable_http: {url: %[6]q}
credential: %[7]s
visibility: {organization: {}}
own_connections_only: true
`, r.as.issuer(), r.keyed.URL, r.typed.URL, r.nodeJS(), everything, r.tasks.URL, credential, r.service.URL, r.crm.URL, r.given.URL, r.events.URL)
}

// gatewayManifest has all ways in; the tokens of a provider have a gateway of their own, since clients find one issuer at each.
func (r *secretRun) gatewayManifest(crm string) string {
	return fmt.Sprintf(`
kind: Gateway
name: tools
visibility: {organization: {}}
authentication:
  oauth: {}
  bearer_token: {}
  id_jag: {identity_providers: [example]}
tools:
- {tool: keyed/echo, pinned: {connection: keyed}}
- {tool: typed/echo, resolve_at_call_time: {}}
- {tool: tasks/echo, resolve_at_call_time: {}}
- {tool: local/get-env, pinned: {connection: local}}
- {tool: service/echo, pinned: {connection: service}}
%[2]s---
kind: Gateway
name: corp
visibility: {organization: {}}
authentication: {jwks: {issuers: [{identity_provider: example, audiences: [%[1]q]}]}}
tools:
- {tool: keyed/echo, pinned: {connection: keyed}}
%[2]s`, r.gateway(8080, "corp"), crm)
}

func (r *secretRun) url() string { return r.gateway(8080, "tools") }

func (r *secretRun) nodeJS() string { return nodeProgram(r.t) }

// secret makes a secret with signs in it that forms and URLs write in another way.
func (r *secretRun) secret(what string) string {
	return r.known.keep(r.t, what, "c4n-"+rand.Text()+"+/="+rand.Text()[:4])
}

// newSecretRun starts everything, with logs at level debug and telemetry that is pushed.
func newSecretRun(t *testing.T) *secretRun {
	t.Helper()
	r := &secretRun{t: t, fleet: newFleet(t), sink: collector.Start(t), said: map[string]string{}, made: map[string]string{}, atProvider: map[string]string{}, answers: make(chan url.Values, 1)}
	r.ada = person{Username: "ada", Email: "ada@example.com", Password: r.secret("password")}
	r.argument = r.secret("argument")
	for _, client := range []string{"tasks", "account", "exchanger"} {
		r.atProvider[client] = r.secret("client secret of " + client)
	}
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { r.answers <- q.URL.Query() }))
	t.Cleanup(web.Close)
	r.callback = web.URL + "/callback"
	issuer := "http://" + address(8083+r.offset)
	r.as = newProviderWith(t, issuer+"/login/callback/example", map[string]person{"engineering": r.ada}, func(g groupsOf) exampleop.Storage {
		storage.RegisterClients(storage.NativeClient(jwksClient, r.callback), storage.WebClient("tasks", r.atProvider["tasks"], issuer+"/upstream/callback/tasks"),
			storage.WebClient("exchanger", r.atProvider["exchanger"]))
		return secretStorage{&jwtStorage{groupsOf: g, client: jwksClient, audience: []string{r.gateway(8080, "corp")}}, r.atProvider["account"]}
	})
	r.as.app.idAtPenstock = "agent"
	r.known.keep(t, "client secret of an identity provider", r.as.secret)
	r.heard = &overheard{t: t, to: r.as.handler, known: &r.known}
	r.as.handler = r.heard
	r.as.up()
	r.keyed, r.typed, r.tasks = newTelling(t, nil), newTelling(t, nil), newGuarded(t, r.as)
	r.service, r.crm, r.given = newTelling(t, r.as), newTelling(t, r.as), newTelling(t, r.as)
	r.events = newTelling(t, nil)
	r.events.refuse.Store(true)
	pushed := "--telemetry.otlp=" + r.sink.Endpoint
	r.programs = []*program{r.startIssuer("--egress.allow_loopback", pushed), r.startControlWith(pushed), r.startNode("node-a", "--egress.allow_loopback", pushed)}
	for _, port := range []int{9083, 9081, 9080} {
		ready(t, r.ops(port))
	}
	return r
}
