// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

const resolveTo = "/penstock.credential.v1.CredentialService/Resolve"

// crm is a server that takes what callers' tokens of a provider are exchanged for at an endpoint, with a connection of the
// organisation's, one of Ada's, one of Bob's who is deactivated, and a gateway that uses them.
func crm(issuer, endpoint string) func(s state) {
	return func(s state) {
		put := func(r *distributionv1.Resource) { s[node.Key{Kind: r.GetKind(), Name: r.GetName()}] = r }
		put(&distributionv1.Resource{Kind: "identity_provider", Name: "okta", Body: &distributionv1.Resource_IdentityProvider{IdentityProvider: &resourcev1.IdentityProvider{
			Name: "okta", Uid: "uid-okta", Issuer: issuer, ClientId: "penstock", TokenExchange: &resourcev1.KeptTokens{},
		}}})
		put(&distributionv1.Resource{Kind: "server", Name: "crm", Body: &distributionv1.Resource_Server{Server: &resourcev1.Server{
			Name: "crm", Uid: "uid-crm", Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://mcp.crm.example/mcp"}},
			Credential: &resourcev1.ServerCredential{Version: "made-1", Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", Audience: "crm", NoResource: true, TokenEndpoint: endpoint,
			}}},
		}}})
		put(&distributionv1.Resource{Kind: "user", Name: "bob@example.com", Body: &distributionv1.Resource_User{User: &resourcev1.User{
			Name: "bob@example.com", Uid: "uid-bob", Deactivated: true,
		}}})
		for name, owner := range map[string]*resourcev1.Owner{
			"org": {Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
			"ada": {Kind: &resourcev1.Owner_User{User: "ada@example.com"}},
			"bob": {Kind: &resourcev1.Owner_User{User: "bob@example.com"}},
		} {
			put(&distributionv1.Resource{Kind: "connection", Name: name, Body: &distributionv1.Resource_Connection{
				Connection: &resourcev1.Connection{Name: name, Uid: "uid-c-" + name, Server: "crm", Owner: owner},
			}})
			put(&distributionv1.Resource{Kind: "assignment", Name: "eng/" + name, Body: &distributionv1.Resource_Assignment{Assignment: &resourcev1.ToolAssignment{
				Gateway: "eng", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: name}},
			}}})
		}
	}
}

// G-12, UP-1, UP-2, JW-13, §16 154: a credential that is exchanged is the caller's, whichever connection was chosen; whoever is no
// person has none, and a discovery is its connection's owner.
func TestResolveExchange(t *testing.T) {
	idp := loginfake.New(t)
	var subjects []string
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subjects = append(subjects, r.FormValue("subject_token"))
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"access_token":"canary-exchanged","token_type":"Bearer","expires_in":300,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`)
	}))
	t.Cleanup(sts.Close)
	w := newTownWith(t, func(c *Config) { c.Egress.AllowLoopback = true }, crm(idp.Issuer, sts.URL))
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	presented := b64(`{"alg":"ES256","typ":"at+jwt"}`) + "." + b64(fmt.Sprintf(`{"iss":%q,"sub":"x","exp":%d}`, idp.Issuer, time.Now().Add(time.Hour).Unix())) + ".canary-signature"
	w.secret("presented token", presented)
	w.secret("exchanged token", "canary-exchanged")

	const exchanged = "Bearer canary-exchanged"
	for _, tt := range []struct {
		name       string
		connection string
		version    string
		kind, uid  string
		token, by  string
		want       string // header, or text of the refusal
	}{
		{"a person, with a presented token", "org", "made-1", "user", "uid-ada", presented, "okta", exchanged},
		{"her own connection", "ada", "made-1", "user", "uid-ada", presented, "okta", exchanged},
		{"a person who never logged in with the provider", "org", "made-1", "user", "uid-ada", "", "", "Nothing is kept of a login with okta: log in with it."},
		{"a token of another provider", "org", "made-1", "user", "uid-ada", presented, "corp", "Nothing is kept of a login with okta: log in with it."},
		{"a deactivated person", "org", "made-1", "user", "uid-bob", presented, "okta", "The user is not there or is deactivated."},
		{"a team's token", "org", "made-1", "team", "uid-team-eng", presented, "okta", "The server takes only people, as themselves: call it, or connect it, as a user who logs in."},
		{"the organisation's token", "org", "made-1", "organization", "o", presented, "okta", "The server takes only people, as themselves: call it, or connect it, as a user who logs in."},
		{"a service account", "ada", "made-1", "service_account", "s", presented, "okta", "The server takes only people, as themselves: call it, or connect it, as a user who logs in."},
		{"a discovery of the organisation's", "org", "made-1", "", "", "", "", "The server takes only people, as themselves: call it, or connect it, as a user who logs in."},
		{"a discovery of Ada's, who never logged in with the provider", "ada", "made-1", "", "", "", "", "Nothing is kept of a login with okta: log in with it."},
		{"a discovery of somebody deactivated", "bob", "made-1", "", "", "", "", "The user whose own the connection is is not there or is deactivated."},
		{"another version", "org", "made-2", "user", "uid-ada", presented, "okta", "How the credential is got was changed a moment ago."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask := map[string]any{"connectionUid": "uid-c-" + tt.connection, "version": tt.version, "subjectToken": tt.token, "subjectProvider": tt.by}
			if tt.kind != "" {
				ask["principal"] = map[string]string{"kind": tt.kind, "uid": tt.uid}
			}
			body, err := json.Marshal(ask)
			w.must(err)
			got := w.asRole(ident.RoleNode, resolveTo, "application/json", string(body))
			var said struct {
				Message string `json:"message"`
				Secret  struct {
					Headers map[string]string `json:"headers"`
				} `json:"secret"`
			}
			w.must(json.Unmarshal([]byte(got.body), &said))
			if header := said.Secret.Headers["Authorization"]; said.Message+header != tt.want {
				t.Errorf("got %d %q%q, want %q", got.status, header, said.Message, tt.want)
			}
		})
	}
	if len(subjects) != 1 || subjects[0] != presented {
		t.Errorf("%d exchanges", len(subjects))
	}
	for secret, what := range w.secrets {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("the log has the %s", what)
		}
	}
}
