// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"slices"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// D-37: an authserver announces exactly those kinds of credential that its resolver knows how to make.
func TestFeaturesAreWhatIsResolved(t *testing.T) {
	for feature, credential := range map[string]*resourcev1.ServerCredential{
		"client_credentials": {Kind: &resourcev1.ServerCredential_OauthClientCredentials{OauthClientCredentials: &resourcev1.OAuthClientCredentials{}}},
		"token_exchange":     {Kind: &resourcev1.ServerCredential_TokenExchange{TokenExchange: &resourcev1.TokenExchange{IdentityProvider: "okta"}}},
		"caller_idp_token":   {Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{IdentityProvider: "okta"}}},
	} {
		t.Run(feature, func(t *testing.T) {
			credential.Version = "m_1"
			s := people()
			for _, r := range []*distributionv1.Resource{
				{Kind: "server", Name: "s", Body: &distributionv1.Resource_Server{Server: &resourcev1.Server{Name: "s", Uid: "uid-s", Credential: credential}}},
				{Kind: "connection", Name: "c", Body: &distributionv1.Resource_Connection{Connection: &resourcev1.Connection{Name: "c", Uid: "uid-c", Server: "s"}}},
			} {
				s[node.Key{Kind: r.GetKind(), Name: r.GetName()}] = r
			}
			f := directory.NewFollower("https://gw.example.com")
			if rejects := f.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
				t.Fatal(rejects)
			}
			if known := resolves(t, f); known != slices.Contains(features(), feature) {
				t.Errorf("the resolver knows it: %t; features are %q", known, features())
			}
		})
	}
}

// resolves reports whether a resolver leads the question for a credential to a room. This one has none, so that is where it ends.
func resolves(t *testing.T, f *directory.Follower) (known bool) {
	t.Helper()
	defer func() {
		if recover() != nil {
			known = true
		}
	}()
	_, _, err := resolver{view: f.View}.Resolve(t.Context(), credentialapi.Wanted{Connection: "uid-c", Version: "m_1"})
	return fault.From(err).Reason != reasonKind
}
