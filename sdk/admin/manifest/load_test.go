// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// secrets answers from a map and from real files.
func secrets(env map[string]string) Secrets {
	return Secrets{
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile:  os.ReadFile,
	}
}

func load(t *testing.T, text string) (*Set, error) {
	t.Helper()
	return Load([]Source{{Name: "m.yaml", Dir: t.TempDir(), Data: []byte(text)}}, secrets(map[string]string{"TOKEN": "s3cret"}))
}

// example is the manifest of the contract, without what this version does not enforce yet.
const example = `
kind: Team
name: eng
members: [{user: ada@example.com, role: ADMIN}, {user: bob@example.com}]
---
kind: Server
name: everything
display_name: Everything
streamable_http: {url: "http://127.0.0.1:3001/mcp"}     # or stdio
credential: {static_headers: {}}
visibility: {organization: {}}
call_timeout: 60s
protocol: 2025-11-25
tool_changes: accept
max_concurrency: 0x10
---
kind: Connection
name: everything-shared
server: everything
owner: {organization: {}}
secretHeaders: {Authorization: {from_env: TOKEN}}
---
kind: Gateway
name: eng
displayName: Engineering tools
visibility: {team: {teams: [eng]}}
authentication: {bearer_token: {}}
labels: {env: prod}
tools:
- {tool: everything/echo, pinned: {connection: everything-shared}}
- tool: everything/get-sum
  pinned:
    connection: everything-shared
  exposed_name: add
naming: {prefix: never}
instructions: |
  first line
  second line
max_stale: 1d12h
---
kind: User
name: ada@example.com
role: ROLE_EDITOR
identities: [{issuer: "https://idp.example", subject: "00u1"}]
---
kind: IdentityProvider
name: okta
issuer: https://idp.example
client_id: penstock
clientSecret: {from_env: TOKEN}
email_domains: [example.com]
trustedEmailAddresses: true
group_mappings: [{group: Engineers, team: eng}]
required_claims: {tid: t1}
gateway_tokens: true
jwks_uri: https://idp.example/keys
signing_algorithms: [ES256]
max_token_age: 12h
---
kind: Gateway
name: ci
visibility: {organization: {}}
authentication:
  oauth: {}
  jwks: {issuers: [{identity_provider: okta, audiences: ["https://gw.example/v1/mcp/ci"], scope_claim: roles, required_claims: {env: prod}, require_at_jwt: true}]}
tools:
- {tool: everything/echo, pinned: {connection: everything-shared}, required_scopes: ["mcp:write"]}
---
kind: OAuthClient
name: builder
authentication: CLIENT_SECRET
redirect_uris: ["https://ci.example/cb"]
client_credentials: {gateways: [ci], scopes: [mcp, "mcp:write"]}
trusted: true
`

func exampleResources() []*adminv1.ManifestResource {
	pinned := func(tool, name string) *resourcev1.ToolAssignment {
		return &resourcev1.ToolAssignment{
			Tool: tool, ExposedName: name, Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "everything-shared"}},
		}
	}
	return []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: "eng", Members: []*resourcev1.TeamMember{
			{User: "ada@example.com", Role: resourcev1.Role_ROLE_ADMIN}, {User: "bob@example.com"},
		}}}},
		{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{
			Name: "everything", DisplayName: "Everything",
			Transport:   &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "http://127.0.0.1:3001/mcp"}},
			Credential:  &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticHeaders{StaticHeaders: &resourcev1.StaticHeaders{}}},
			Visibility:  &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
			CallTimeout: durationpb.New(time.Minute), Protocol: "2025-11-25", MaxConcurrency: 16,
			ToolChanges: resourcev1.ToolChanges_TOOL_CHANGES_ACCEPT,
		}}},
		{Resource: &adminv1.ManifestResource_Connection{Connection: &resourcev1.Connection{
			Name: "everything-shared", Server: "everything",
			Owner:         &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
			SecretHeaders: map[string]string{"Authorization": "s3cret"},
		}}},
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: &resourcev1.Gateway{
			Name: "eng", DisplayName: "Engineering tools", Labels: map[string]string{"env": "prod"},
			Visibility:     &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{"eng"}}}},
			Authentication: &resourcev1.Authentication{BearerToken: &resourcev1.BearerTokenAuthentication{}},
			Tools:          []*resourcev1.ToolAssignment{pinned("everything/echo", ""), pinned("everything/get-sum", "add")},
			Naming:         &resourcev1.Naming{Prefix: resourcev1.NamingPrefix_NAMING_PREFIX_NEVER},
			Instructions:   "first line\nsecond line\n", MaxStale: durationpb.New(36 * time.Hour),
		}}},
		{Resource: &adminv1.ManifestResource_User{User: &resourcev1.User{
			Name: "ada@example.com", Role: resourcev1.Role_ROLE_EDITOR,
			Identities: []*resourcev1.Identity{{Issuer: "https://idp.example", Subject: "00u1"}},
		}}},
		{Resource: &adminv1.ManifestResource_IdentityProvider{IdentityProvider: &resourcev1.IdentityProvider{
			Name: "okta", Issuer: "https://idp.example", ClientId: "penstock", ClientSecret: "s3cret", EmailDomains: []string{"example.com"},
			TrustedEmailAddresses: true,
			GroupMappings:         []*resourcev1.GroupMapping{{Group: "Engineers", Team: "eng"}},
			RequiredClaims:        map[string]string{"tid": "t1"},
			GatewayTokens:         true, JwksUri: "https://idp.example/keys", SigningAlgorithms: []string{"ES256"}, MaxTokenAge: durationpb.New(12 * time.Hour),
		}}},
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: &resourcev1.Gateway{
			Name:       "ci",
			Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
			Authentication: &resourcev1.Authentication{Oauth: &resourcev1.OAuthAuthentication{}, Jwks: &resourcev1.JwksAuthentication{Issuers: []*resourcev1.JwksIssuer{{
				IdentityProvider: "okta", Audiences: []string{"https://gw.example/v1/mcp/ci"}, ScopeClaim: "roles",
				RequiredClaims: map[string]string{"env": "prod"}, RequireAtJwt: true,
			}}}},
			Tools: []*resourcev1.ToolAssignment{{
				Tool: "everything/echo", RequiredScopes: []string{"mcp:write"},
				Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "everything-shared"}},
			}},
		}}},
		{Resource: &adminv1.ManifestResource_OauthClient{OauthClient: &resourcev1.OAuthClient{
			Name: "builder", Authentication: resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET,
			RedirectUris:      []string{"https://ci.example/cb"},
			ClientCredentials: &resourcev1.ClientCredentials{Gateways: []string{"ci"}, Scopes: []string{"mcp", "mcp:write"}}, Trusted: true,
		}}},
	}
}

func TestLoad(t *testing.T) {
	set, err := load(t, example)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exampleResources(), set.Resources, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLoadForms(t *testing.T) {
	team := func(name, display string) []*adminv1.ManifestResource {
		return []*adminv1.ManifestResource{{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: name, DisplayName: display}}}}
	}
	tests := []struct {
		name, text string
		want       []*adminv1.ManifestResource
	}{
		{"empty", "", nil},
		{"only comments and separators", "# nothing\n---\n---\n", nil},
		{"JSON", `{"kind": "Team", "name": "a", "displayName": "x\/y"}`, team("a", "x/y")},
		{"JSON with tabs", "{\n\t\"kind\":\t\"Team\",\n\t\"name\": \"a\"\n}", team("a", "")},
		{"JSON list", `[{"kind": "Team", "name": "a"}, {"kind": "Team", "name": "b"}]`, append(team("a", ""), team("b", "")...)},
		{"JSON surrogate pair", `{"kind": "Team", "name": "a", "display_name": "\ud83d\ude00 \\ud83d"}`, team("a", `😀 \ud83d`)},
		{"byte order mark", "\ufeffkind: Team\nname: a\n", team("a", "")},
		{"text that looks like a number", "kind: Team\nname: 123\ndisplay_name: 1.50\n", team("123", "1.50")},
		{"text that looks like a boolean", "kind: Team\nname: \"true\"\ndisplay_name: yes\n", team("true", "yes")},
		{"null leaves a field unset", "kind: Team\nname: a\ndisplay_name: ~\n", team("a", "")},
		{"alias", "kind: Team\nname: &n a\ndisplay_name: *n\n", team("a", "a")},
		{"kind last", "name: a\nkind: Team\n", team("a", "")},
		{"windows line ends", "kind: Team\r\nname: a\r\n", team("a", "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := load(t, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, set.Resources, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestProblems has a row for each thing that can be wrong, with its place and the words that help.
func TestProblems(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"list not closed", "kind: Team\nname: [a\n", "m.yaml:2: not YAML: "},
		{"two values on a line", "kind: Team\nname: a\nlabels: b: c\n", "m.yaml:3: not YAML: mapping values are not allowed"},
		{"tab as indent", "kind: Team\nlabels:\n\ta: b\n", "m.yaml:3: not YAML: found character that cannot start any token"},
		{"key without value", "kind: Team\nname: a\nlabels\nx: y\n", "m.yaml:3: not YAML: could not find expected ':'"},
		{"wrong indent", "kind: Team\n  name: a\n", "m.yaml:2: not YAML: "},
		{"wrong in line 1", "kind: [a\n", "m.yaml:2: not YAML: did not find expected ',' or ']'"},
		{"a word", "hello\n", `m.yaml:1:1: want a resource (kind, name, fields), got "hello"`},
		{"no kind", "name: a\n", "m.yaml:1:1: a resource needs a kind: Server, Connection, Gateway, Team, User, IdentityProvider, OAuthClient"},
		{"kind twice", "kind: Team\nname: a\nkind: Team\n", "m.yaml:3:1: kind is given twice"},
		{"unknown kind", "kind: Gatway\nname: a\n", `m.yaml:1:1: unknown kind "Gatway"; did you mean "Gateway"?`},
		{"token", "kind: BearerToken\nname: a\n", "penstock token create"},
		{"tool", "kind: Tool\nname: a/b\n", "penstock server discover"},
		{"no name", "kind: Team\n", "m.yaml:1:1: a Team needs a name"},
		{"unknown field", "kind: Gateway\nname: a\nvisiblity: {}\n", `m.yaml:3:1: unknown field "visiblity" of Gateway; did you mean "visibility"?`},
		{"unknown nested field", "kind: Gateway\nname: a\nnaming: {prefx: ALWAYS}\n", `m.yaml:3:10: unknown field "prefx" of Naming; did you mean "prefix"?`},
		{"nothing near", "kind: Team\nname: a\nzzzzzzzzzz: 1\n", "; known: name, etag, labels, display_name, members"},
		{"planned field", "kind: Gateway\nname: a\nicon: x\n", "m.yaml:3:1: icon of Gateway is not enforced by this version yet; remove it"},
		{"nobody approves", "kind: Policy\nname: a\naction: REQUIRE_APPROVAL\napprovers: {team: {}}\n", `m.yaml:4:13: unknown field "team" of Approvers; known: caller, team_admins, users`},
		{"two kinds of credential", "kind: Server\nname: a\ncredential: {token_exchange: {}, caller_idp_token: {}}\n", "m.yaml:3:34: token_exchange and caller_idp_token exclude each other"},
		{"version of a credential", "kind: Server\nname: a\ncredential: {version: m_1}\n", "m.yaml:3:14: version is set by Penstock itself"},
		{"reference to the secret of a service account", "kind: Server\nname: a\ncredential: {oauth_client_credentials: {secret_version: v1}}\n", "m.yaml:3:41: secret_version is set by Penstock itself"},
		{"reference to the secret of an exchange", "kind: Server\nname: a\ncredential: {token_exchange: {secret_version: v1}}\n", "m.yaml:3:31: secret_version is set by Penstock itself"},
		{"secret of a service account in clear", "kind: Server\nname: a\ncredential: {oauth_client_credentials: {client_secret: s3cret}}\n", "m.yaml:3:56: secrets do not stand in manifests; write {from_env: NAME} or {from_file: PATH}"},
		{"unknown grant", "kind: Server\nname: a\ncredential: {token_exchange: {grant: saml}}\n", `grant: unknown value "saml"; known: TOKEN_EXCHANGE, ENTRA_ON_BEHALF_OF, ID_JAG`},
		{"poll token in clear", "kind: IdentityProvider\nname: a\nshared_signals: {poll_token: s3cret}\n", "m.yaml:3:30: secrets do not stand in manifests; write {from_env: NAME} or {from_file: PATH}"},
		{"reference to a poll token", "kind: IdentityProvider\nname: a\nshared_signals: {poll_token_version: v1}\n", "m.yaml:3:18: poll_token_version is set by Penstock itself"},
		{"output only", "kind: Team\nname: a\nuid: x\n", "m.yaml:3:1: uid is set by Penstock itself; remove it"},
		{"output only, of one kind", "kind: User\nname: ada@example.com\nend_time: 2026-01-01T00:00:00Z\n", "m.yaml:3:1: end_time is set by Penstock itself; remove it"},
		{"output only, nested", "kind: Gateway\nname: a\ntools: [{tool: s/t, resolved_name: x}]\n", "m.yaml:3:21: resolved_name is set by Penstock itself"},
		{"field twice", "kind: Team\nname: a\ndisplay_name: x\ndisplayName: y\n", "m.yaml:4:1: displayName is given twice"},
		{"label twice", "kind: Team\nname: a\nlabels: {k: x, k: y}\n", "m.yaml:3:16: k is given twice"},
		{"two of a kind", "kind: Server\nname: a\nstdio: {command: x}\nsse: {url: y}\n", "m.yaml:4:1: stdio and sse exclude each other"},
		{"duplicate", "kind: Team\nname: a\n---\nkind: Team\nname: a\n", "m.yaml:4:1: Team a was already described at m.yaml:1:1"},
		{"empty message forgotten", "kind: Gateway\nname: a\nvisibility:\n  organization:\n", "organization has no value; write organization: {}"},
		{"scalar for message", "kind: Gateway\nname: a\nvisibility: organization\n", `m.yaml:3:13: want fields of Visibility, got "organization"`},
		{"scalar for message that may be empty", "kind: Policy\nname: a\napprovers: {team_admins: true}\n", `m.yaml:3:26: want fields of TeamAdmins, got "true"; they are teams, and {} sets none`},
		{"scalar for message without fields", "kind: Gateway\nname: a\nvisibility: {organization: true}\n", `m.yaml:3:28: want {}, got "true"`},
		{"mapping for scalar", "kind: Team\nname: {a: b}\n", "m.yaml:2:7: name: want a single value, got a mapping"},
		{"scalar for list", "kind: Team\nname: a\nmembers: x\n", `m.yaml:3:10: want a list, got "x"`},
		{"list for mapping", "kind: Team\nname: a\nlabels: [x]\n", "m.yaml:3:9: want a mapping, got a list"},
		{"no boolean", "kind: Gateway\nname: a\ndisabled: yes\n", `m.yaml:3:11: disabled: want true or false, got "yes"`},
		{"no number", "kind: Server\nname: a\nmax_concurrency: many\n", "m.yaml:3:18: max_concurrency: want a whole number from 0 to 4294967295"},
		{"negative", "kind: Server\nname: a\nmax_concurrency: -1\n", "want a whole number from 0"},
		{"fraction", "kind: Server\nname: a\nmax_concurrency: 1.5\n", "want a whole number from 0"},
		{"unknown enum value", "kind: Gateway\nname: a\nnaming: {prefix: SOMETIMES}\n", `m.yaml:3:18: prefix: unknown value "SOMETIMES"; known: ALWAYS, ON_CONFLICT, NEVER`},
		{"near enum value", "kind: Gateway\nname: a\nnaming: {prefix: alwys}\n", `did you mean "ALWAYS"?`},
		{"duration without unit", "kind: Server\nname: a\ncall_timeout: 60\n", `m.yaml:3:15: call_timeout: want a time span with a unit, for example 60s, 5m or 30d, got "60"`},
		{"negative duration", "kind: Server\nname: a\ncall_timeout: -1s\n", "want a time span"},
		{"duration of a list", "kind: Server\nname: a\ncall_timeout: [1s]\n", "want a time span, got a list"},
		{"secret in clear", "kind: Connection\nname: a\nsecret_headers: {Authorization: Bearer s3cret}\n", "m.yaml:3:33: secrets do not stand in manifests; write {from_env: NAME} or {from_file: PATH}"},
		{"secret from nowhere", "kind: Connection\nname: a\nsecret_env: {A: {from_vault: x}}\n", `unknown source "from_vault" of a secret`},
		{"variable not set", "kind: Connection\nname: a\nsecret_env: {A: {from_env: NOPE}}\n", "m.yaml:3:28: the environment variable NOPE is not set"},
		{"secret without name", "kind: Connection\nname: a\nsecret_env: {A: {from_env: }}\n", "from_env wants a name"},
		{"file not there", "kind: Connection\nname: a\nsecret_env: {A: {from_file: nope}}\n", "m.yaml:3:29: read the secret: "},
		{"client secret in clear", "kind: IdentityProvider\nname: a\nclient_secret: s3cret\n", "m.yaml:3:16: secrets do not stand in manifests; write {from_env: NAME} or {from_file: PATH}"},
		{"client secret not there", "kind: IdentityProvider\nname: a\nclient_secret:\n  from_env: NOPE\n", "m.yaml:4:13: the environment variable NOPE is not set"},
		{"reference to a secret", "kind: IdentityProvider\nname: a\nsecret_version: v1\n", "m.yaml:3:1: secret_version is set by Penstock itself"},
		{"hash of a SCIM token", "kind: IdentityProvider\nname: a\nscim_token_sha256: [AA]\n", "m.yaml:3:1: scim_token_sha256 is set by Penstock itself"},
		{"what a provider says of a user", "kind: User\nname: a@b\nprovisioning: {}\n", "m.yaml:3:1: provisioning is set by Penstock itself"},
		{"what a provider says of a team", "kind: Team\nname: a\nprovisioning: {}\n", "m.yaml:3:1: provisioning is set by Penstock itself"},
		{"hash of a secret", "kind: OAuthClient\nname: a\nsecret_sha256: [AA]\n", "m.yaml:3:1: secret_sha256 is set by Penstock itself"},
		{"unknown way to authenticate", "kind: OAuthClient\nname: a\nauthentication: client_secret_basic\n", `m.yaml:3:17: authentication: unknown value "client_secret_basic"`},
		{"scopes of a gateway", "kind: Gateway\nname: a\nscopes_supported: [mcp]\n", "m.yaml:3:1: scopes_supported is set by Penstock itself"},
		{"oauth without a value", "kind: Gateway\nname: a\nauthentication:\n  oauth:\n", "oauth has no value; write oauth: {}"},
		{"near kind", "kind: OauthClient\nname: a\n", `did you mean "OAuthClient"?`},
		{"merge key", "kind: Team\nname: a\n<<: {display_name: x}\n", "merge keys"},
		{"feature without a switch", "kind: Gateway\nname: a\nserver_features: [{server: s, tools: true}]\n", `unknown field "tools" of ServerFeature`},
		{"two modes of a feature", "kind: Gateway\nname: a\nserver_features: [{server: s, pinned: {connection: c}, resolve_at_call_time: {}}]\n", "pinned and resolve_at_call_time exclude each other"},
		{"unknown way of URIs", "kind: Gateway\nname: a\nresource_uris: never\n", `resource_uris: unknown value "never"; known: ON_CONFLICT, ALWAYS`},
		{"struct", "kind: Gateway\nname: a\ntools: [{tool: s/t, fixed_arguments: [1]}]\n", "fixed_arguments: want an object, got a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.text)
			problems, ok := errors.AsType[Problems](err)
			if !ok {
				t.Fatalf("got %v, want problems", err)
			}
			if !strings.Contains(problems.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", problems, tt.want)
			}
			if strings.Contains(problems.Error(), "s3cret") {
				t.Errorf("the problem shows the secret: %s", problems)
			}
		})
	}
}

// TestAllProblemsAtOnce: whoever mends one does not find the next by running again.
func TestAllProblemsAtOnce(t *testing.T) {
	_, err := load(t, "kind: Team\nname: a\nx: 1\ny: 2\n---\nkind: Gatway\n")
	if problems, _ := errors.AsType[Problems](err); len(problems) != 3 {
		t.Errorf("got %v, want 3 problems", err)
	}
	var many strings.Builder
	for i := range 2 * maxProblems {
		fmt.Fprintf(&many, "kind: Nope\nname: a%d\n---\n", i)
	}
	_, err = load(t, many.String())
	if problems, _ := errors.AsType[Problems](err); len(problems) != maxProblems {
		t.Errorf("got %d problems, want %d", len(problems), maxProblems)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"plain": "a b", "line": "abc\n", "dos": "abc\r\n", "two": "abc\n\n", "empty": "\n"} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"plain": "a b", "line": "abc", "dos": "abc", "two": "abc\n", "empty": "", dir + "/line": "abc"} {
		text := fmt.Sprintf("kind: Connection\nname: a\nsecret_env: {A: {fromFile: %s}}\n", name)
		set, err := Load([]Source{{Name: "m.yaml", Dir: dir, Data: []byte(text)}}, secrets(nil))
		if want == "" {
			if err == nil {
				t.Errorf("%s: an empty secret was taken", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := set.Resources[0].GetConnection().GetSecretEnv()["A"]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if _, err := Load([]Source{{Data: []byte("kind: Connection\nname: a\nsecret_env: {A: {from_file: /etc/hostname}}\n")}}, Secrets{}); err == nil {
		t.Error("zero Secrets read a file")
	}
}

func TestWhere(t *testing.T) {
	set, err := load(t, example)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path string
		want string
	}{
		{"resources[3].gateway.tools[1].exposed_name", "m.yaml:34:3"},
		{"resources[3].gateway.tools[0].pinned.connection", "m.yaml:30:36"},
		{"resources[3].gateway.tools[0].description", "m.yaml:30:3"},
		{"resources[3].gateway.regions", "m.yaml:23:1"},
		{`resources[2].connection.secret_headers["Authorization"]`, "m.yaml:21:17"},
		{"resources[1].server.protocol", "m.yaml:13:1"},
		{"resources[0]", "m.yaml:2:1"},
		{"resources[9].team", ""},
		{"resources", ""},
		{"prune", ""},
	}
	for _, tt := range tests {
		got, ok := set.Where(tt.path)
		if got.String() != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: got %s, %t; want %s", tt.path, got, ok, tt.want)
		}
	}
	if at, _ := set.Without("Server").Where("resources[1].connection.server"); at.String() != "m.yaml:19:1" {
		t.Errorf("without servers: got %s", at)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"60s": time.Minute, "1h30m": 90 * time.Minute, "30d": 30 * 24 * time.Hour, "1d12h": 36 * time.Hour, "500ms": 500 * time.Millisecond, "0s": 0,
	} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "60", "d", "-1d", "1d-1h", "999999d", "100000d2000000h", "1w", "1D"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("%q: got %s, want an error", text, got)
		}
	}
}
