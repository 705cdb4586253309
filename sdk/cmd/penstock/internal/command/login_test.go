// SPDX-License-Identifier: Apache-2.0

package command

import (
	"strings"
	"testing"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/internal/adminfake"
)

const (
	ada      = "ada@example.com"
	password = "correct horse battery"
)

// TestSetPassword: from standard input, and nowhere else.
func TestSetPassword(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.User{Name: ada})
	w.in = password + "\n"
	got := w.run(t, "user", "set-password", ada)
	got.want(t, exitOK, "password of ada@example.com set\n", "")
	if w.api.Passwords[ada] != password {
		t.Errorf("the password is %q", w.api.Passwords[ada])
	}
	w.run(t, "user", "set-password", "eve@example.com").want(t, exitNotFound, "", "eve@example.com")
	w.in = ""
	w.run(t, "user", "set-password", ada).want(t, exitUsage, "", "use --remove")
	w.in = strings.Repeat("x", 5000)
	w.run(t, "user", "set-password", ada).want(t, exitFailure, "", "too long")
	if w.api.Passwords[ada] != password {
		t.Errorf("a refused run made the password %q", w.api.Passwords[ada])
	}
	w.in = "not read"
	w.run(t, "user", "set-password", ada, "--remove").want(t, exitOK, "password of ada@example.com taken away\n", "")
	if kept, ok := w.api.Passwords[ada]; kept != "" || !ok {
		t.Errorf("the password is still %q", kept)
	}
	w.run(t, "user", "set-password", "--help").want(t, exitOK, "never stands in the command line", "")
}

// TestNoPasswordInArguments: it is refused, and not shown again.
func TestNoPasswordInArguments(t *testing.T) {
	for _, args := range [][]string{
		{"user", "set-password", ada, password}, {"user", "set-password", ada, "--password", password}, {"user", "set-password", ada, "--password=" + password},
	} {
		w := newWorld(t)
		w.api.Put(&resourcev1.User{Name: ada})
		got := w.run(t, args...)
		got.want(t, exitUsage, "", "a password does not stand in the command line")
		if strings.Contains(got.out+got.err, password) {
			t.Errorf("%v shows the password: %s", args, got.err)
		}
		if len(w.api.Passwords) > 0 {
			t.Errorf("%v set a password", args)
		}
	}
	newWorld(t).run(t, "user", "set-password").want(t, exitUsage, "", "email")
}

func TestOAuthClientSecret(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.OAuthClient{Name: "ci", Authentication: resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET})
	w.api.Put(&resourcev1.OAuthClient{Name: "app"})
	w.run(t, "get", "oauth-clients").want(t, exitOK, "ci    CLIENT_SECRET (none made)", "")
	got := w.run(t, "oauth-client", "create-secret", "ci")
	got.want(t, exitOK, "", "client secret of ci (revision 1); it is shown this once; the one before stays good")
	if got.out != adminfake.ClientSecret+"\n" {
		t.Errorf("standard output is %q, want the secret alone", got.out)
	}
	w.run(t, "oauth-client", "create-secret", "ci", "--drop-others").want(t, exitOK, adminfake.ClientSecret+"\n", "refused from now on")
	w.run(t, "oauth-client", "create-secret", "app").want(t, exitFailure, "", "does not authenticate with a secret")
	w.run(t, "oauth-client", "create-secret", "nope").want(t, exitNotFound, "", "nope")
	w.run(t, "get", "oauth-client", "ci", "-o", "json").want(t, exitOK, `"secret_time"`, "")
}

// TestLoginNouns: the kinds of OAuth in the general commands.
func TestLoginNouns(t *testing.T) {
	w := newWorld(t)
	w.env["IDP_SECRET"] = "s3cret"
	path := w.file(t, "all.yaml", `
kind: OAuthClient
name: ci
authentication: CLIENT_SECRET
client_credentials: {gateways: [eng]}
redirect_uris: ["https://ci.example/cb"]
---
kind: IdentityProvider
name: okta
issuer: https://idp.example
client_id: penstock
client_secret: {from_env: IDP_SECRET}
group_mappings: [{group: Engineers, team: eng}]
required_claims: {tid: t1}
trusted_email_addresses: true
gateway_tokens: true
max_token_age: 12h
`)
	w.run(t, "apply", "-f", path).want(t, exitOK, "OAuthClient ci created\nIdentityProvider okta created\n2 created; revision 2", "")
	if shown := w.run(t, "export"); strings.Contains(shown.out, "s3cret") || !strings.Contains(shown.out, "kind: IdentityProvider\nname: okta\n") ||
		!strings.Contains(shown.out, "trusted_email_addresses: true\n") {
		t.Errorf("exported: %s", shown.out)
	}
	w.run(t, "get", "idp").want(t, exitOK, "okta  https://idp.example  penstock", "")
	for _, want := range []string{"Issuer:            https://idp.example\n", "Scopes:            openid email profile\n", "Trusts addresses:  yes\n", "Required claims:   tid=t1\n", "Gateway tokens:    yes\n", "Max token age:     12h0m0s\n", "GROUP      TEAM\nEngineers  eng\n"} {
		w.run(t, "describe", "identity-provider", "okta").want(t, exitOK, want, "")
	}
	for _, want := range []string{"Client ID:          ci\n", "Redirects to:       https://ci.example/cb\n", "Acts as itself at:  eng\n", "With scopes:        mcp\n"} {
		w.run(t, "describe", "oauth-client", "ci").want(t, exitOK, want, "")
	}
	w.run(t, "delete", "oauth-client", "ci").want(t, exitOK, "oauth-client ci deleted (revision 3)", "")
	w.run(t, "delete", "identity-provider", "okta").want(t, exitOK, "identity-provider okta deleted (revision 4)", "")
	w.run(t, "get", "identity-providers").want(t, exitOK, "", "there are no identity-providers")

	w.api.Put(&resourcev1.User{Name: ada, Identities: []*resourcev1.Identity{{Issuer: "https://idp.example", Subject: "00u1"}}})
	w.run(t, "describe", "user", ada).want(t, exitOK, "Accounts at identity providers:\nISSUER               SUBJECT\nhttps://idp.example  00u1\n", "")
}

// TestDescribeOAuthGateway shows how clients authenticate and which scopes there are.
func TestDescribeOAuthGateway(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Gateway{
		Name: "eng", Status: &resourcev1.GatewayStatus{Url: "http://x/v1/mcp/eng"}, ScopesSupported: []string{"mcp", "mcp:write"},
		Authentication: &resourcev1.Authentication{Oauth: &resourcev1.OAuthAuthentication{}, BearerToken: &resourcev1.BearerTokenAuthentication{}},
		Tools: []*resourcev1.ToolAssignment{{Tool: "s/t", ResolvedName: "s__t", RequiredScopes: []string{"mcp:write"}, Mode: &resourcev1.ToolAssignment_Pinned{
			Pinned: &resourcev1.Pinned{Connection: "c"},
		}}},
	})
	for _, want := range []string{"Authentication:  oauth, bearer_token\n", "Scopes:          mcp mcp:write\n", "s__t  s/t   c           mcp:write\n"} {
		w.run(t, "describe", "gateway", "eng").want(t, exitOK, want, "")
	}
	w.run(t, "connect", "eng").want(t, exitOK, "No token is needed: the client opens a browser to log in.\n", "")
	w.api.Connect = append(w.api.Connect, &adminv1.ConnectInstruction{Client: "any", Content: "Bearer ${PENSTOCK_TOKEN}"})
	w.run(t, "connect", "eng").want(t, exitOK, "to log in. Where there is none, use a bearer token: penstock token create --user EMAIL --gateway eng\n", "")
}
