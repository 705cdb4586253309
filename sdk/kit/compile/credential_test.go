// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestMakeServerCredential: what a node reads of each kind of credential, and by which reference it asks for one (G-12).
func TestMakeServerCredential(t *testing.T) {
	held := &Connection{CredentialVersion: "v_1"}
	for _, tt := range []struct {
		name       string
		credential *resourcev1.ServerCredential
		needs      bool
		caller     bool
		account    bool
		provider   string
		subject    string
		version    string // over a connection that holds v_1
	}{
		{name: "no credential at all", version: "v_1"},
		{name: "none", credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_None{None: &resourcev1.NoCredential{}}}, version: "v_1"},
		{
			name: "headers", credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticHeaders{StaticHeaders: &resourcev1.StaticHeaders{}}},
			needs: true, version: "v_1",
		},
		{
			name: "grants", credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_Oauth{Oauth: &resourcev1.OAuthCredential{}}},
			needs: true, version: "v_1",
		},
		{
			name: "client credentials",
			credential: &resourcev1.ServerCredential{
				Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{}}, Version: "m_1",
			},
			needs: true, account: true, version: "m_1",
		},
		{
			name: "exchange of what was presented",
			credential: &resourcev1.ServerCredential{
				Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
					IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN,
				}},
				Version: "m_1",
			},
			needs: true, caller: true, provider: "okta", subject: "okta", version: "m_1",
		},
		{
			name: "exchange of what the login left",
			credential: &resourcev1.ServerCredential{
				Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{
					IdentityProvider: "okta", SubjectToken: resourcev1.SubjectToken_SUBJECT_TOKEN_REFRESH_TOKEN,
				}},
				Version: "m_1",
			},
			needs: true, caller: true, provider: "okta", version: "m_1",
		},
		{
			name: "caller's token",
			credential: &resourcev1.ServerCredential{
				Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{IdentityProvider: "okta"}}, Version: "m_1",
			},
			needs: true, caller: true, provider: "okta", version: "m_1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := MakeServer(&resourcev1.Server{
				Name: "s", Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://x/mcp"}}, Credential: tt.credential,
			})
			if err != nil {
				t.Fatal(err)
			}
			if s.NeedsSecret != tt.needs || s.CallerOnly != tt.caller || s.ServiceAccount() != tt.account || s.SubjectProvider != tt.subject || s.Provider != tt.provider {
				t.Errorf("got %+v", s)
			}
			if got := s.Version(held); got != tt.version {
				t.Errorf("it is asked for by %q, want %q", got, tt.version)
			}
		})
	}
}
