// SPDX-License-Identifier: Apache-2.0

package scope_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// sent returns a server as the followers of a scope get it, and fails the test if a secret goes along.
func sent(t *testing.T, s scope.Scope, body string) *resourcev1.Server {
	t.Helper()
	e, err := scope.Encode(record(catalog.KindServer, "tools", body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if strings.Contains(string(e.For(s)), "s3cret") || strings.Contains(string(e.Wire), "s3cret") {
		t.Errorf("%+v gets the secret of %s", s, body)
	}
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.For(s), got); err != nil {
		t.Fatal(err)
	}
	return got.GetServer()
}

func made(url, credential string) string {
	return fmt.Sprintf(`{"streamable_http":{"url":%q},"credential":{%s}}`, url, credential)
}

// D-82, D-84: how a credential is made is the authserver's business, with a reference to the secret that nobody gets. A node learns
// which version of it to ask for, and whose tokens callers may have presented. Both get the same version.
func TestMadeCredentials(t *testing.T) {
	nodes, authservers := scope.Scope{Region: "eu"}, scope.Scope{Authserver: true}
	for _, tc := range []struct {
		name, body     string
		whole, reduced *resourcev1.ServerCredential
	}{
		{
			"client credentials", `"oauth_client_credentials":{"issuer":"https://as.example","client_id":"penstock","client_secret":"s3cret","secret_version":"v_1","scopes":["a"]}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{
				Issuer: "https://as.example", ClientId: "penstock", SecretVersion: "v_1", Scopes: []string{"a"},
			}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{}}},
		},
		{
			"token exchange", `"token_exchange":{"identity_provider":"okta","subject_token":"SUBJECT_TOKEN_ACCESS_TOKEN","audience":"tools","client_id":"penstock","client_secret":"s3cret","secret_version":"v_1"}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN, Audience: "tools", ClientId: "penstock", SecretVersion: "v_1",
			}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN,
			}}},
		},
		{
			"token exchange, by default", `"token_exchange":{"identity_provider":"okta"}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{IdentityProvider: "okta"}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN,
			}}},
		},
		{
			"token exchange, of what the login left", `"token_exchange":{"identity_provider":"okta","subject_token":"SUBJECT_TOKEN_REFRESH_TOKEN"}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_REFRESH_TOKEN,
			}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_REFRESH_TOKEN,
			}}},
		},
		{
			"identity assertion", `"token_exchange":{"identity_provider":"okta","grant":"EXCHANGE_GRANT_ID_JAG","issuer":"https://as.example"}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", Grant: resourcev1.ExchangeGrant_EXCHANGE_GRANT_ID_JAG, Issuer: "https://as.example",
			}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
				IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_ID_TOKEN,
			}}},
		},
		{
			"caller's token", `"caller_idp_token":{"identity_provider":"okta","audience":"api://tools","scopes":["a"]}`,
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{
				IdentityProvider: "okta", Audience: "api://tools", Scopes: []string{"a"},
			}}},
			&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{IdentityProvider: "okta"}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := made("https://tools.example/mcp", tc.body)
			node, authserver := sent(t, nodes, body), sent(t, authservers, body)
			version := node.GetCredential().GetVersion()
			if !strings.HasPrefix(version, "m_") || len(version) != 34 {
				t.Errorf("the version is %q", version)
			}
			tc.whole.Version, tc.reduced.Version = version, version
			if diff := cmp.Diff(tc.whole, authserver.GetCredential(), protocmp.Transform()); diff != "" {
				t.Errorf("to an authserver (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.reduced, node.GetCredential(), protocmp.Transform()); diff != "" {
				t.Errorf("to a node (-want +got):\n%s", diff)
			}
			if authserver.GetStreamableHttp().GetUrl() != "https://tools.example/mcp" {
				t.Error("the authserver does not know where the server is")
			}
			// The one for a discovery is the same, and holds no more.
			task := proto.CloneOf(authserver)
			task.Credential.Version = "m_forged"
			if err := scope.ForDiscovery(task); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.reduced, task.GetCredential(), protocmp.Transform()); diff != "" {
				t.Errorf("for a discovery (-want +got):\n%s", diff)
			}
		})
	}
}

// A version is the same as long as the credential is got in the same way at the same place, and another one with every field that
// changes, so that no node uses what it has for something else (UP-3, UP-9).
func TestMadeVersion(t *testing.T) {
	const here = "https://tools.example/mcp"
	client := func(more string) string {
		return made(here, `"oauth_client_credentials":{"client_id":"penstock"`+more+`}`)
	}
	exchange := func(more string) string {
		return made(here, `"token_exchange":{"identity_provider":"okta"`+more+`}`)
	}
	given := func(more string) string {
		return made(here, `"caller_idp_token":{"identity_provider":"okta","audience":"a"`+more+`}`)
	}
	seen := make(map[string]string)
	for _, body := range []string{
		client(``), client(`,"issuer":"https://as.example"`), client(`,"secret_version":"v_1"`), client(`,"secret_version":"v_2"`), client(`,"scopes":["a"]`),
		client(`,"no_resource":true`), client(`,"token_endpoint":"https://as.example/t"`), client(`,"authentication":"CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT"`),
		made(here, `"oauth_client_credentials":{"client_id":"other"}`),
		made("https://other.example/mcp", `"oauth_client_credentials":{"client_id":"penstock"}`),
		exchange(``), exchange(`,"grant":"EXCHANGE_GRANT_ID_JAG"`), exchange(`,"subject_token":"SUBJECT_TOKEN_ID_TOKEN"`), exchange(`,"audience":"a"`),
		exchange(`,"scopes":["a"]`), exchange(`,"no_resource":true`), exchange(`,"issuer":"https://as.example"`), exchange(`,"token_endpoint":"https://as.example/t"`),
		exchange(`,"client_id":"penstock"`), exchange(`,"secret_version":"v_1"`), exchange(`,"authentication":"CLIENT_AUTHENTICATION_CLIENT_SECRET"`),
		made(here, `"token_exchange":{"identity_provider":"corp"}`),
		given(``), given(`,"scopes":["a"]`), given(`,"no_resource":true`), made(here, `"caller_idp_token":{"identity_provider":"okta","audience":"b"}`),
		made(here, `"caller_idp_token":{"identity_provider":"corp","audience":"a"}`),
	} {
		version := sent(t, scope.Scope{}, body).GetCredential().GetVersion()
		if again := sent(t, scope.Scope{}, strings.Replace(body, `{"stream`, `{"description":"x","stream`, 1)).GetCredential().GetVersion(); again != version {
			t.Errorf("%s: the version is %q and then %q", body, version, again)
		}
		if other := seen[version]; version == "" || other != "" {
			t.Errorf("%s and %s both have the version %q", body, other, version)
		}
		seen[version] = body
	}
	for _, body := range []string{made(here, `"oauth":{"client_id":"penstock"},"version":"m_forged"`), made(here, `"static_headers":{},"version":"m_forged"`)} {
		if v := sent(t, scope.Scope{}, body).GetCredential().GetVersion(); v != "" {
			t.Errorf("%s has the version %q", body, v)
		}
	}
}

// D-82, D-84: which tokens of logins are kept, and where signals come from, is for authservers alone; the poll_token is for nobody.
func TestProviderForExchange(t *testing.T) {
	e, err := scope.Encode(record(catalog.KindIdentityProvider, "okta", `{"issuer":"https://okta.example","client_id":"penstock","gateway_tokens":true,
		"token_exchange":{"scopes":["canary"]},"shared_signals":{"poll_endpoint":"https://okta.example/canary","poll_token":"s3cret","poll_token_version":"v_1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if node := string(e.For(scope.Scope{Region: "eu"})); strings.Contains(node, "canary") || strings.Contains(node, "v_1") {
		t.Errorf("a node gets %q", node)
	}
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.For(scope.Scope{Authserver: true}), got); err != nil {
		t.Fatal(err)
	}
	want := &resourcev1.SharedSignals{PollEndpoint: "https://okta.example/canary", PollTokenVersion: "v_1"}
	if diff := cmp.Diff(want, got.GetIdentityProvider().GetSharedSignals(), protocmp.Transform()); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&resourcev1.KeptTokens{Scopes: []string{"canary"}}, got.GetIdentityProvider().GetTokenExchange(), protocmp.Transform()); diff != "" {
		t.Errorf("kept tokens (-want +got):\n%s", diff)
	}
}
