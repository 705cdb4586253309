// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestDescribeCredentials: a person sees how tokens are got, and whether the secret for it is there.
func TestDescribeCredentials(t *testing.T) {
	server := func(c *resourcev1.ServerCredential) proto.Message {
		return &resourcev1.Server{Name: "s", Credential: c}
	}
	account := func(c *resourcev1.OAuthClientCredentials) proto.Message {
		return server(&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: c}})
	}
	exchange := func(x *resourcev1.TokenExchange) proto.Message {
		return server(&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: x}})
	}
	const key = resourcev1.ClientAuthentication_CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT
	for _, tt := range []struct {
		name   string
		m      proto.Message
		want   []string // "Label: value"
		absent []string
	}{
		{
			"account", account(&resourcev1.OAuthClientCredentials{ClientId: "penstock", SecretVersion: "v1", Scopes: []string{"a", "b"}}),
			[]string{"Credential: oauth_client_credentials", "Tokens for: all callers alike", "Client ID: penstock", "Client authentication: CLIENT_SECRET", "Scopes: a b"},
			[]string{"Token issuer", "Token endpoint", "v1"},
		},
		{
			"account without its key", account(&resourcev1.OAuthClientCredentials{Issuer: "https://as", TokenEndpoint: "https://as/token", Authentication: key}),
			[]string{"Token issuer: https://as", "Token endpoint: https://as/token", "Client authentication: PRIVATE_KEY_JWT (none kept)"},
			nil,
		},
		{
			"exchange", exchange(&resourcev1.TokenExchange{IdentityProvider: "okta", Audience: "tools"}),
			[]string{
				"Credential: token_exchange", "Tokens for: each caller", "Identity provider: okta", "Grant: TOKEN_EXCHANGE", "Subject token: ACCESS_TOKEN",
				"Audience: tools",
			},
			[]string{"Client authentication"},
		},
		{
			"identity assertion of a public client",
			exchange(&resourcev1.TokenExchange{IdentityProvider: "okta", Grant: resourcev1.ExchangeGrant_EXCHANGE_GRANT_ID_JAG, Issuer: "https://as", ClientId: "penstock"}),
			[]string{"Grant: ID_JAG", "Subject token: ID_TOKEN", "Token issuer: https://as", "Client ID: penstock", "Client authentication: none"},
			nil,
		},
		{
			"caller's token",
			server(&resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{IdentityProvider: "okta", Audience: "api://x"}}}),
			[]string{"Credential: caller_idp_token", "Tokens for: each caller", "Identity provider: okta", "Audience: api://x"},
			nil,
		},
		{"provider", &resourcev1.IdentityProvider{Name: "p"}, nil, []string{"Tokens kept", "Signals"}},
		{
			"provider with signals", &resourcev1.IdentityProvider{Name: "p", TokenExchange: &resourcev1.KeptTokens{}, SharedSignals: &resourcev1.SharedSignals{}},
			[]string{"Tokens kept: for exchanges", "Signals: pushed"},
			nil,
		},
		{
			"provider that is polled",
			&resourcev1.IdentityProvider{Name: "p", TokenExchange: &resourcev1.KeptTokens{Scopes: []string{"a"}}, SharedSignals: &resourcev1.SharedSignals{PollEndpoint: "https://p/poll", PollTokenVersion: "v1"}},
			[]string{"Tokens kept: for exchanges a", "Signals: polled from https://p/poll"},
			[]string{"without a token"},
		},
		{
			"provider that is polled without a token", &resourcev1.IdentityProvider{Name: "p", SharedSignals: &resourcev1.SharedSignals{PollEndpoint: "https://p/poll"}},
			[]string{"Signals: polled from https://p/poll without a token"},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := Describe(&out, tt.m, nil); err != nil {
				t.Fatal(err)
			}
			lines := make(map[string]bool)
			for line := range strings.Lines(out.String()) {
				lines[strings.Join(strings.Fields(line), " ")] = true
			}
			for _, want := range tt.want {
				if !lines[want] {
					t.Errorf("no line %q in\n%s", want, &out)
				}
			}
			for _, absent := range tt.absent {
				if strings.Contains(out.String(), absent) {
					t.Errorf("there is %q in\n%s", absent, &out)
				}
			}
		})
	}
}
