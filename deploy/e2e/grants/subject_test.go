// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

const (
	providerUID = "uid-example"
	way         = "m_1" // version of the way to get the credential
)

// signs is the provider's storage, whose clients get JWTs as access tokens.
type signs struct{ *storage.Storage }

// GetClientByClientID implements op.OPStorage.
func (s signs) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	return signed{c}, err
}

type signed struct{ op.Client }

// AccessTokenType implements op.Client.
func (signed) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// TestTokenOfIdentityProvider: Ada logs in with a real identity provider by way of a connect link, and a node gets access tokens
// that it gives for the server (JW-13): whichever authserver is asked, each by one request, with one refresh token between them
// (UP-5). Nobody but people get one (UP-2), a discovery that of whose connection it is. An end is CREDENTIAL_DEAD, and a new link
// mends it. Nothing secret is in a log or in clear on disk (SE-4).
func TestTokenOfIdentityProvider(t *testing.T) {
	h := newHouse(t)
	as := newProvider(t, h.issuer+"/login/callback/example")
	as.exchanged = exampleop.SetupServer(as.issuer, signs{as.storage}, nil, false)
	p := planeWith(as.mcp, &resourcev1.User{
		Name: adaName, Uid: adaUID, Identities: []*resourcev1.Identity{{Issuer: as.issuer, Subject: "ada"}},
	}, &resourcev1.ServerCredential{Version: way, Kind: &resourcev1.ServerCredential_CallerIdpToken{CallerIdpToken: &resourcev1.CallerIdpToken{
		IdentityProvider: "example", Audience: clientID, Scopes: []string{"openid", "offline_access"},
	}}})
	p.put("identity_provider", "example", &distributionv1.Resource{Body: &distributionv1.Resource_IdentityProvider{
		IdentityProvider: &resourcev1.IdentityProvider{
			Name: "example", Uid: providerUID, DisplayName: "Example Login", Issuer: as.issuer, ClientId: clientID,
			SecretVersion: h.secretOf(t, providerUID, as.secret), TokenExchange: &resourcev1.KeptTokens{},
		},
	}})
	one, two := h.start(t, "one", p), h.start(t, "two", p)
	if reason := refusal(t, one, way, false); reason != "CREDENTIAL_MISSING" {
		t.Errorf("before the login: %s", reason)
	}

	links := []string{h.connect(t, one, as)}
	both := []credentialv1connect.CredentialServiceClient{one, two}
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() { got[i] = resolve(t, both[i%2], way, false) })
	}
	wg.Wait()
	for i := range got {
		if got[i] != got[i%2] {
			t.Errorf("caller %d gets another token", i)
		}
		parts := strings.Split(strings.TrimPrefix(got[i], "Bearer "), ".")
		if len(parts) != 3 {
			t.Fatal("the token is no JWT")
		}
		if claims, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || !strings.Contains(string(claims), `"aud":["`+clientID+`"]`) {
			t.Errorf("the claims are %s (%v)", claims, err)
		}
	}
	if n := as.refreshes.Load(); n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}
	if !as.takes(t, got[0]) && !as.takes(t, got[1]) { // the example ends an access token with the refresh token that it came with
		t.Error("the provider takes neither token")
	}
	if _, err := one.Resolve(t.Context(), &credentialv1.ResolveRequest{ConnectionUid: connectionUID, Version: way}); err != nil {
		t.Errorf("a discovery: %v", err)
	}
	for _, kind := range []string{"team", "organization", "service_account"} {
		_, err := one.Resolve(t.Context(), &credentialv1.ResolveRequest{
			ConnectionUid: connectionUID, Version: way, Principal: &credentialv1.ResolvePrincipal{Kind: kind, Uid: "x"},
		})
		if reason := reasonOf(err); reason != "CREDENTIAL_REQUIRES_USER" {
			t.Errorf("%s: %s", kind, reason)
		}
	}
	if reason := refusal(t, one, "m_0", false); reason != "CREDENTIAL_VERSION_UNKNOWN" {
		t.Errorf("another way: %s", reason)
	}

	must(t, as.storage.TerminateSession(t.Context(), "ada", clientID))
	three := h.start(t, "three", p) // it remembers no token
	for range 2 {
		if reason := refusal(t, three, way, false); reason != "CREDENTIAL_DEAD" {
			t.Errorf("after the end of the login: %s", reason)
		}
	}
	if n := as.refreshes.Load(); n != 3 {
		t.Errorf("%d refreshes, want 3: the end is asked for once", n)
	}
	links = append(links, h.connect(t, one, as))
	if !as.takes(t, resolve(t, three, way, false)) {
		t.Error("a new link does not mend it")
	}
	h.noSecrets(t, append(append(links, as.secret, as.login, h.password), as.secrets...))
}
