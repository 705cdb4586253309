// SPDX-License-Identifier: Apache-2.0

package scope_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func record(kind catalog.Kind, name, body string) *catalog.Record {
	return &catalog.Record{Key: catalog.Key{Kind: kind, Name: name}, UID: "u1", Body: []byte(body), Version: catalog.Hash{7}}
}

// TestEncode: what is stored is what is sent, but for what is not for nodes.
func TestEncode(t *testing.T) {
	token := record(catalog.KindBearerToken, "t", `{"owner":{"user":"ada@example.com"},"gateways":["demo"],"last_use_time":"2026-01-01T00:00:00Z","ttl":"60s"}`)
	token.Lookup = strings.Repeat("ab", 32)
	rotated := record(catalog.KindBearerToken, "t", `{"gateways":["demo"],"previous_sha256":"zc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc0=","previous_expire_time":"2026-01-02T00:00:00Z"}`)
	rotated.Lookup = strings.Repeat("ab", 32)
	tests := []struct {
		name string
		rec  *catalog.Record
		want string // JSON of the message; empty: not sent
	}{
		{
			"server keeps the protocol that discovery found, and nothing else of its status",
			record(catalog.KindServer, "s", `{"streamable_http":{"url":"https://x"},"status":{"protocol_version":"2025-11-25","tools":3,"last_error":"x"},"etag":"e"}`),
			`{"server":{"name":"s","uid":"u1","streamable_http":{"url":"https://x"},"status":{"protocol_version":"2025-11-25"}}}`,
		},
		{
			"server with what gateways show of it, and not what waits",
			record(catalog.KindServer, "s", `{"questions":{"roots":true},"status":{"protocol_version":"2025-11-25","server_info":"x/1","capabilities":"e30=","instructions":"do","pending_instructions":"do not","pending_instructions_hash":"ab","prompts":[{"name":"p","definition":"e30="}],"templates":[{"uri_template":"x:{y}","definition":"e30="}],"resource_authorities":["x:"]}}`),
			`{"server":{"name":"s","uid":"u1","questions":{"roots":true},"status":{"protocol_version":"2025-11-25","capabilities":"e30=","instructions":"do","prompts":[{"name":"p","definition":"e30="}],"templates":[{"uri_template":"x:{y}","definition":"e30="}],"resource_authorities":["x:"]}}}`,
		},
		{
			"instructions are left out while others wait, with tool_changes HOLD (G-16)",
			record(catalog.KindServer, "s", `{"tool_changes":"TOOL_CHANGES_HOLD","status":{"protocol_version":"2025-11-25","instructions":"do","pending_instructions_hash":"ab"}}`),
			`{"server":{"name":"s","uid":"u1","tool_changes":"TOOL_CHANGES_HOLD","status":{"protocol_version":"2025-11-25"}}}`,
		},
		{
			"instructions stay with tool_changes HOLD while none wait",
			record(catalog.KindServer, "s", `{"tool_changes":"TOOL_CHANGES_HOLD","status":{"protocol_version":"2025-11-25","instructions":"do"}}`),
			`{"server":{"name":"s","uid":"u1","tool_changes":"TOOL_CHANGES_HOLD","status":{"protocol_version":"2025-11-25","instructions":"do"}}}`,
		},
		{"server never discovered", record(catalog.KindServer, "s", `{"status":{"last_error":"x"}}`), `{"server":{"name":"s","uid":"u1"}}`},
		{
			"a connection never carries a secret (D-84)",
			record(catalog.KindConnection, "c", `{"server":"s","secret_headers":{"Authorization":"hunter2"},"secret_env":{"K":"hunter2"},"credential_version":"v1","status":{"state":"CONNECTION_STATE_READY"}}`),
			`{"connection":{"name":"c","uid":"u1","server":"s","credential_version":"v1"}}`,
		},
		{
			"a tool without its definition and the hashes of it",
			record(catalog.KindTool, "s/t", `{"server":"s","upstream_name":"t","definition":"e30=","body_hash":"ab","definition_hash":"cd"}`),
			`{"tool":{"name":"s/t","uid":"u1","server":"s","upstream_name":"t"}}`,
		},
		{
			"a gateway without its tools", record(catalog.KindGateway, "g", `{"tools":[{"tool":"s/t"}],"regions":["eu"],"max_stale":"60s","status":{"url":"x"}}`),
			`{"gateway":{"name":"g","uid":"u1","regions":["eu"],"max_stale":"60s"}}`,
		},
		{
			"an assignment knows its gateway, also where the tool's name has slashes",
			record(catalog.KindAssignment, "g/s/a/b", `{"pinned":{"connection":"c"},"resolved_name":"s__a_b"}`),
			`{"assignment":{"gateway":"g","tool":"s/a/b","pinned":{"connection":"c"},"resolved_name":"s__a_b"}}`,
		},
		{"a team", record(catalog.KindTeam, "eng", `{"members":[{"user":"a@x","role":"ROLE_ADMIN"}]}`), `{"team":{"name":"eng","uid":"u1","members":[{"user":"a@x","role":"ROLE_ADMIN"}]}}`},
		{"a user", record(catalog.KindUser, "a@x", `{"deactivated":true}`), `{"user":{"name":"a@x","uid":"u1","deactivated":true}}`},
		{
			"a token with its hash, as the node needs it", token,
			`{"bearer_token":{"name":"t","uid":"u1","owner":{"user":"ada@example.com"},"gateways":["demo"],"sha256":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="}}`,
		},
		{
			"an identity provider never carries its secret (D-84)",
			record(catalog.KindIdentityProvider, "okta", `{"issuer":"https://idp.example","client_id":"c","client_secret":"hunter2","secret_version":"v1","group_mappings":[{"group":"g","team":"eng"}]}`),
			`{"identity_provider":{"name":"okta","uid":"u1","issuer":"https://idp.example","client_id":"c","secret_version":"v1","group_mappings":[{"group":"g","team":"eng"}]}}`,
		},
		{
			"an OAuth client with the hashes of its secrets, as the authserver needs them",
			record(catalog.KindOAuthClient, "ci", `{"authentication":"O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET","client_credentials":{"gateways":["eng"]},"secret_sha256":["q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="],"etag":"e"}`),
			`{"oauth_client":{"name":"ci","uid":"u1","authentication":"O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET","client_credentials":{"gateways":["eng"]},"secret_sha256":["q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]}}`,
		},
		{"a gateway with its scopes", record(catalog.KindGateway, "g", `{"authentication":{"oauth":{}},"scopes_supported":["mcp","mcp:write"]}`), `{"gateway":{"name":"g","uid":"u1","authentication":{"oauth":{}},"scopes_supported":["mcp","mcp:write"]}}`},
		{"a user with accounts", record(catalog.KindUser, "a@x", `{"identities":[{"issuer":"https://idp.example","subject":"1"}]}`), `{"user":{"name":"a@x","uid":"u1","identities":[{"issuer":"https://idp.example","subject":"1"}]}}`},
		{
			"a token that was rotated, with both hashes (ST-6)", rotated,
			`{"bearer_token":{"name":"t","uid":"u1","gateways":["demo"],"sha256":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=","previous_sha256":"zc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc0=","previous_expire_time":"2026-01-02T00:00:00Z"}}`,
		},
		{
			"a policy", record(catalog.KindPolicy, "no", `{"action":"POLICY_ACTION_BLOCK","when":"args.n > 1","gateways":["*"],"etag":"e"}`),
			`{"policy":{"name":"no","uid":"u1","action":"POLICY_ACTION_BLOCK","when":"args.n > 1","gateways":["*"]}}`,
		},
		{
			"a result policy", record(catalog.KindResultPolicy, "no", `{"mark":"RESULT_MARK_REDACT","redact":["x+"],"when":"args.n > 1","etag":"e"}`),
			`{"result_policy":{"name":"no","uid":"u1","mark":"RESULT_MARK_REDACT","redact":["x+"],"when":"args.n > 1"}}`,
		},
		{"a token of the admin API", record(catalog.KindBearerToken, "t", `{"admin_api":true}`), ""},
		{"a kind without a message", record("something", "x", `{}`), ""},
		{"no record", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := scope.Encode(tt.rec)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if e != nil {
					t.Fatalf("it is sent: %q", e.Wire)
				}
				return
			}
			got, want := &distributionv1.Resource{}, &distributionv1.Resource{}
			if err := proto.Unmarshal(e.Wire, got); err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal([]byte(tt.want), want); err != nil {
				t.Fatal(err)
			}
			want.Kind, want.Name, want.Version = string(tt.rec.Kind), tt.rec.Name, tt.rec.Version[:]
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEncodeRefuses: a stored form that is not understood whole is not sent at all, because what is not understood may
// be a restriction.
func TestEncodeRefuses(t *testing.T) {
	noHash := record(catalog.KindBearerToken, "t", `{}`)
	noHash.Lookup = "not hex"
	for name, rec := range map[string]*catalog.Record{
		"a field of a later release": record(catalog.KindGateway, "g", `{"only_on_mondays":true}`),
		"an enum of a later release": record(catalog.KindUser, "u", `{"role":"ROLE_EMPEROR"}`),
		"not JSON":                   record(catalog.KindTeam, "x", `{`),
		"a token without a hash":     noHash,
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := scope.Encode(rec); err == nil {
				t.Fatalf("it is sent: %q", e.Wire)
			}
		})
	}
}

// TestAcceptedBody: a tool whose changed definition waits needs two bodies, and nodes get the accepted one (G-16).
func TestAcceptedBody(t *testing.T) {
	accepted, pending := catalog.Hash{2}, catalog.Hash{1}
	rec := record(catalog.KindTool, "s/t", fmt.Sprintf(`{"server":"s","upstream_name":"t","state":"TOOL_STATE_CHANGED","body_hash":"%x","pending_body_hash":"%x"}`, accepted, pending))
	rec.Blobs = []catalog.Hash{pending, accepted}
	e, err := scope.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.Wire, got); err != nil {
		t.Fatal(err)
	}
	if len(e.Blobs) != 1 || e.Blobs[0] != accepted || len(got.GetBlobs()) != 1 || catalog.Hash(got.GetBlobs()[0]) != accepted {
		t.Errorf("bodies %x, sent %x; want %x alone", e.Blobs, got.GetBlobs(), accepted)
	}
}

// D-82: nodes get OAuth clients without the hashes of their secrets, which only the authserver compares.
func TestSecretsOfClientsAreForTheAuthserver(t *testing.T) {
	e, err := scope.Encode(record(catalog.KindOAuthClient, "ci", `{"secret_sha256":["q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]}`))
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[scope.Scope]int{{}: 0, {Region: "eu"}: 0, {Authserver: true}: 1} {
		got := &distributionv1.Resource{}
		if err := proto.Unmarshal(e.For(s), got); err != nil {
			t.Fatal(err)
		}
		if n := len(got.GetOauthClient().GetSecretSha256()); n != want || got.GetOauthClient().GetName() != "ci" || len(got.GetVersion()) == 0 {
			t.Errorf("scope %+v gets %d hashes, want %d: %v", s, n, want, got)
		}
	}
	plain, err := scope.Encode(record(catalog.KindOAuthClient, "public", `{}`))
	if err != nil || string(plain.For(scope.Scope{})) != string(plain.Wire) {
		t.Errorf("a client without a secret is another one to nodes (%v)", err)
	}
}

// D-82: nodes get what checks an identity provider's tokens, if gateways may accept them, and nothing else of it.
func TestNodesGetLittleOfProviders(t *testing.T) {
	const stored = `{"display_name":"Okta","issuer":"https://idp.example","client_id":"c","secret_version":"v1","scopes":["email"],"just_in_time_users":true,` +
		`"email_domains":["example.com"],"groups_claim":"roles","group_mappings":[{"group":"g","team":"eng"}],"required_claims":{"tid":"1"},"labels":{"a":"b"},`
	const checks = `"issuer":"https://idp.example","client_id":"c","required_claims":{"tid":"1"},"gateway_tokens":true,"jwks_uri":"https://idp.example/k","signing_algorithms":["ES256"],"max_token_age":"60s"`
	for name, tt := range map[string]struct{ body, want string }{
		"no tokens for gateways": {stored + `"jwks_uri":"https://idp.example/k"}`, `{"identity_provider":{"name":"okta","uid":"u1"}}`},
		"tokens for gateways": {
			stored + `"gateway_tokens":true,"jwks_uri":"https://idp.example/k","signing_algorithms":["ES256"],"max_token_age":"60s"}`,
			`{"identity_provider":{"name":"okta","uid":"u1",` + checks + `}}`,
		},
		"disabled": {
			stored + `"gateway_tokens":true,"disabled":true,"jwks_uri":"https://idp.example/k","signing_algorithms":["ES256"],"max_token_age":"60s"}`,
			`{"identity_provider":{"name":"okta","uid":"u1","disabled":true,` + checks + `}}`,
		},
	} {
		e, err := scope.Encode(record(catalog.KindIdentityProvider, "okta", tt.body))
		if err != nil {
			t.Fatal(err)
		}
		got, want := &distributionv1.Resource{}, &distributionv1.Resource{}
		if err := errors.Join(proto.Unmarshal(e.For(scope.Scope{}), got), protojson.Unmarshal([]byte(tt.want), want)); err != nil {
			t.Fatal(err)
		}
		want.Kind, want.Name, want.Version = "identity_provider", "okta", e.Version[:]
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err := proto.Unmarshal(e.For(scope.Scope{Authserver: true}), got); err != nil || got.GetIdentityProvider().GetSecretVersion() != "v1" {
			t.Errorf("%s: the authserver gets %v (%v)", name, got, err)
		}
	}
}

// An authserver learns which gateway pins which connection, or resolves its server's at the call, and nothing else of an
// assignment (D-85). Nodes get it whole.
func TestPinsAreForTheAuthserver(t *testing.T) {
	rec := &catalog.Record{Key: catalog.Key{Kind: catalog.KindAssignment, Name: "eng/s1/echo"}, Body: []byte(
		`{"tool":"s1/echo","pinned":{"connection":"s1-shared"},"exposedName":"say","description":"canary","requiredScopes":["mcp:write"]}`)}
	e, err := scope.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.For(scope.Scope{Authserver: true}), got); err != nil {
		t.Fatal(err)
	}
	want := &distributionv1.Resource{
		Kind: "assignment", Name: "eng/s1/echo", Version: rec.Version[:],
		Body: &distributionv1.Resource_Assignment{Assignment: &resourcev1.ToolAssignment{
			Gateway: "eng", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "s1-shared"}},
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("to an authserver (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(e.For(scope.Scope{Region: "eu"})), "canary") {
		t.Error("a node does not get the whole assignment")
	}
	rec.Body = []byte(`{"tool":"s1/echo","resolve_at_call_time":{},"description":"canary"}`)
	chosen, err := scope.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(chosen.For(scope.Scope{Authserver: true}), got); err != nil {
		t.Fatal(err)
	}
	want.GetAssignment().Mode = &resourcev1.ToolAssignment_ResolveAtCallTime{ResolveAtCallTime: &resourcev1.ResolveAtCallTime{}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("resolved at the call, to an authserver (-want +got):\n%s", diff)
	}
	rec.Body = []byte(`{"tool":"s1/echo"}`)
	plain, err := scope.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	w, m := scope.NewWorld(), scope.NewMembers(scope.Scope{Authserver: true})
	for i, one := range []*scope.Entry{e, plain, chosen} {
		before := w.Entries[one.Key]
		w.Set(one.Key, one)
		m.Step(w, before, one, nil)
		if want := []int{1, 0, 1}[i]; m.Len() != want {
			t.Errorf("step %d: %d members, want %d", i, m.Len(), want)
		}
	}
}

// G-12, D-12: with a tool that is resolved at the call, all connections of its server come into the scope, for as long as there is
// such a tool, whichever comes first; what is pinned beside stays.
func TestConnectionsToChooseFrom(t *testing.T) {
	encode := func(kind catalog.Kind, name, body string) *scope.Entry {
		e, err := scope.Encode(record(kind, name, body))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	connection := func(name, server string) *scope.Entry {
		return encode(catalog.KindConnection, name, `{"server":"`+server+`","owner":{"user":"a@x"}}`)
	}
	gateway := encode(catalog.KindGateway, "g", `{"regions":["eu"]}`)
	pinned, atCall := encode(catalog.KindAssignment, "g/s/t", `{"pinned":{"connection":"c1"}}`), encode(catalog.KindAssignment, "g/s/t", `{"resolve_at_call_time":{}}`)
	shows := encode(catalog.KindGateway, "g", `{"regions":["eu"],"server_features":[{"server":"s","prompts":true,"resolve_at_call_time":{}}]}`)
	gone := func(e *scope.Entry) *scope.Entry { return &scope.Entry{Key: e.Key} }
	w := scope.NewWorld()
	eu, us := scope.NewMembers(scope.Scope{Region: "eu"}), scope.NewMembers(scope.Scope{Region: "us"})
	for i, step := range []struct {
		set  *scope.Entry // without a version: deleted
		want string       // connections in eu
	}{
		{connection("c1", "s"), ""},
		{encode(catalog.KindServer, "s", `{}`), ""},
		{gateway, ""},
		{pinned, "c1"},
		{connection("c2", "s"), "c1"},
		{atCall, "c1 c2"},
		{connection("c3", "s"), "c1 c2 c3"},
		{connection("c4", "other"), "c1 c2 c3"},
		{connection("c2", "other"), "c1 c3"},
		{gone(connection("c3", "s")), "c1"},
		{connection("c2", "s"), "c1 c2"},
		{shows, "c1 c2"},
		{pinned, "c1 c2"},
		{gateway, "c1"},
		{atCall, "c1 c2"},
		{gone(atCall), ""},
		{shows, "c1 c2"},
		{gone(gateway), ""},
	} {
		after := step.set
		if after.Version == (catalog.Hash{}) {
			after = nil
		}
		before := w.Entries[step.set.Key]
		w.Set(step.set.Key, after)
		eu.Step(w, before, after, nil)
		us.Step(w, before, after, nil)
		full := scope.NewMembers(scope.Scope{Region: "eu"})
		full.Fill(w)
		var got []string
		for _, name := range []string{"c1", "c2", "c3", "c4"} {
			if eu.Has(w, w.Entries[catalog.Key{Kind: catalog.KindConnection, Name: name}]) {
				got = append(got, name)
			}
		}
		if text := strings.Join(got, " "); text != step.want {
			t.Errorf("step %d: got %q, want %q", i, text, step.want)
		}
		if full.Sum() != eu.Sum() || full.Len() != eu.Len() || us.Len() != 0 {
			t.Errorf("step %d: %d members, %d from nothing, %d elsewhere", i, eu.Len(), full.Len(), us.Len())
		}
	}
}

// An authserver learns of a server what it must ask people for, and whom it is for; of a server that they do not connect
// themselves, nothing.
func TestConnectableServersAreForTheAuthserver(t *testing.T) {
	encode := func(body string) *scope.Entry {
		t.Helper()
		e, err := scope.Encode(record(catalog.KindServer, "github", body))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const rest = `"display_name":"GitHub","description":"canary","streamable_http":{"url":"https://mcp.example/mcp"},"extra_headers":{"X-A":"canary"}`
	e := encode(`{` + rest + `,"credential":{"static_headers":{"names":["X-Api-Key"]}}}`)
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.For(scope.Scope{Authserver: true}), got); err != nil {
		t.Fatal(err)
	}
	got.Version, got.GetServer().Uid = nil, ""
	want := &distributionv1.Resource{Kind: "server", Name: "github", Body: &distributionv1.Resource_Server{Server: &resourcev1.Server{
		Name: "github", DisplayName: "GitHub",
		Transport:  &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://mcp.example/mcp"}},
		Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticHeaders{StaticHeaders: &resourcev1.StaticHeaders{Names: []string{"X-Api-Key"}}}},
	}}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("to an authserver (-want +got):\n%s", diff)
	}
	if !strings.Contains(string(e.For(scope.Scope{})), "canary") {
		t.Error("a node does not get the whole server")
	}
	w, m := scope.NewWorld(), scope.NewMembers(scope.Scope{Authserver: true})
	for i, one := range []*scope.Entry{encode(`{` + rest + `}`), e, encode(`{` + rest + `,"credential":{"none":{}}}`)} {
		before := w.Entries[one.Key]
		w.Set(one.Key, one)
		m.Step(w, before, one, nil)
		if want := []int{0, 1, 0}[i]; m.Len() != want {
			t.Errorf("step %d: %d members, want %d", i, m.Len(), want)
		}
	}
}

// UP-4, D-82, D-84: how a grant is given is the authserver's business; a node learns that there is one. The secret of the client
// goes to nobody, whatever is stored.
func TestOAuthOfServersIsForTheAuthserver(t *testing.T) {
	e, err := scope.Encode(record(catalog.KindServer, "github", `{"streamable_http":{"url":"https://mcp.example/mcp"},
		"credential":{"oauth":{"issuer":"https://as.example","client_id":"penstock-canary","client_secret":"s3cret","secret_version":"v_1"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[scope.Scope]*resourcev1.OAuthCredential{
		{Region: "eu"}: {}, {Authserver: true}: {Issuer: "https://as.example", ClientId: "penstock-canary", SecretVersion: "v_1"},
	} {
		got := &distributionv1.Resource{}
		if err := proto.Unmarshal(e.For(s), got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.GetServer().GetCredential().GetOauth(), protocmp.Transform()); diff != "" {
			t.Errorf("to %+v (-want +got):\n%s", s, diff)
		}
		if strings.Contains(string(e.For(s)), "s3cret") {
			t.Errorf("%+v gets the secret", s)
		}
	}
}

// D-82, ST-2: the hashes of SCIM tokens are for authservers alone; what providers say of users and teams is for nobody.
func TestProvisioningStaysInside(t *testing.T) {
	e, err := scope.Encode(record(catalog.KindIdentityProvider, "okta", `{"scim_token_sha256":["q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="]}`))
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[scope.Scope]int{{}: 0, {Region: "eu"}: 0, {Authserver: true}: 1} {
		got := &distributionv1.Resource{}
		if err := proto.Unmarshal(e.For(s), got); err != nil {
			t.Fatal(err)
		}
		if n := len(got.GetIdentityProvider().GetScimTokenSha256()); n != want || got.GetIdentityProvider().GetName() != "okta" {
			t.Errorf("scope %+v gets %d hashes, want %d: %v", s, n, want, got)
		}
	}
	for _, kind := range []catalog.Kind{catalog.KindUser, catalog.KindTeam} {
		e, err := scope.Encode(record(kind, "a@x", `{"provisioning":{"identity_provider":"okta","name":"canary"}}`))
		if err != nil || strings.Contains(string(e.Wire), "canary") {
			t.Errorf("%s: %q, %v", kind, e.Wire, err)
		}
	}
}
