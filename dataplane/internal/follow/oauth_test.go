// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// OAuth clients come and go; kinds that a node has no use for, or does not know, break nothing.
func TestOAuthClients(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	s := newState(t)
	client := func(disabled bool) node.Key {
		return s.put(&distributionv1.Resource{Kind: "oauth_client", Name: "ci", Body: &distributionv1.Resource_OauthClient{
			OauthClient: &resourcev1.OAuthClient{Name: "ci", Uid: "u", Disabled: disabled},
		}})
	}
	k := client(false)
	s.put(&distributionv1.Resource{Kind: "identity_provider", Name: "okta", Body: &distributionv1.Resource_IdentityProvider{
		IdentityProvider: &resourcev1.IdentityProvider{Name: "okta"},
	}})
	unknown := s.put(&distributionv1.Resource{Kind: "of_a_newer_node", Name: "x"})
	if rejects := c.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
		t.Fatalf("rejected %v", rejects)
	}
	if found, _ := holder.Load().Client("ci"); found == nil || found.UID != "u" {
		t.Errorf("client %+v", found)
	}
	client(true)
	if rejects := c.Apply(t.Context(), s, []node.Key{k, unknown, {Kind: "identity_provider", Name: "okta"}}, true); len(rejects) > 0 {
		t.Fatalf("rejected %v", rejects)
	}
	if _, refused := holder.Load().Client("ci"); !refused {
		t.Error("a disabled client is not refused")
	}
	delete(s.resources, k)
	c.Apply(t.Context(), s, []node.Key{k}, false)
	if found, refused := holder.Load().Client("ci"); found != nil || refused {
		t.Errorf("client %+v, refused %v", found, refused)
	}
}

// Identity providers whose tokens gateways accept come, change and go; a gateway knows which of their tokens.
func TestIdentityProviders(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	s := newState(t)
	provider := func(change func(p *resourcev1.IdentityProvider)) node.Key {
		p := &resourcev1.IdentityProvider{Name: "okta", Uid: "u", Issuer: "https://idp.example", ClientId: "c", GatewayTokens: true}
		change(p)
		return s.put(&distributionv1.Resource{Kind: "identity_provider", Name: "okta", Body: &distributionv1.Resource_IdentityProvider{IdentityProvider: p}})
	}
	k := provider(func(*resourcev1.IdentityProvider) {})
	s.put(&distributionv1.Resource{Kind: "gateway", Name: "eng", Body: &distributionv1.Resource_Gateway{Gateway: &resourcev1.Gateway{
		Name: "eng", Uid: "g", Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
		Authentication: &resourcev1.Authentication{Jwks: &resourcev1.JwksAuthentication{Issuers: []*resourcev1.JwksIssuer{{IdentityProvider: "okta", Audiences: []string{"a"}}}}},
	}}})
	if rejects := c.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
		t.Fatalf("rejected %v", rejects)
	}
	accepts := func(issuer string) (*view.Provider, *view.JWKSIssuer) {
		now := holder.Load()
		return now.Accepts(now.Gateway("eng"), issuer)
	}
	p, rules := accepts("https://idp.example")
	if p == nil || p.MaxTokenAge != 24*time.Hour || !slices.Equal(p.Algorithms, []string{"ES256", "RS256", "PS256", "EdDSA"}) ||
		rules.SubjectClaim != "sub" || !slices.Equal(rules.ScopeClaims, []string{"scope", "scp"}) {
		t.Errorf("with defaults: %+v, %+v", p, rules)
	}
	if p, _ := accepts("https://idp.example/"); p != nil {
		t.Error("another issuer is accepted")
	}
	for name, change := range map[string]func(p *resourcev1.IdentityProvider){
		"no tokens": func(p *resourcev1.IdentityProvider) { p.GatewayTokens = false },
		"disabled":  func(p *resourcev1.IdentityProvider) { p.Disabled = true },
		"another":   func(p *resourcev1.IdentityProvider) { p.Issuer = "https://other.example" },
	} {
		provider(change)
		if rejects := c.Apply(t.Context(), s, []node.Key{k}, true); len(rejects) > 0 {
			t.Fatalf("%s: rejected %v", name, rejects)
		}
		if p, _ := accepts("https://idp.example"); p != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	delete(s.resources, k)
	c.Apply(t.Context(), s, []node.Key{k}, false)
	if p, _ := accepts("https://other.example"); p != nil {
		t.Error("a provider that is gone is accepted")
	}
}

func TestRevoke(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	c.Apply(t.Context(), newState(t), nil, false)
	sum := func(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }
	entry := func(kind distributionv1.RevocationKind, text string) *distributionv1.Revocation {
		key := sum(text)
		return &distributionv1.Revocation{Kind: kind, KeySha256: key[:], ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}
	}
	subject := entry(distributionv1.RevocationKind_REVOCATION_KIND_SUBJECT, "ada")
	subject.IssuedBefore = timestamppb.New(time.Unix(100, 0))
	short := entry(distributionv1.RevocationKind_REVOCATION_KIND_TOKEN, "short")
	short.KeySha256 = short.KeySha256[:31]
	c.Revoke(t.Context(), []*distributionv1.Revocation{
		entry(distributionv1.RevocationKind_REVOCATION_KIND_TOKEN, "jti"), entry(distributionv1.RevocationKind_REVOCATION_KIND_GRANT, "gid"),
		entry(distributionv1.RevocationKind_REVOCATION_KIND_KEY, "kid"), subject, short,
		{},
		entry(99, "newer"),
	})
	r := holder.Load().Revocations()
	if r.Counts() != 4 {
		t.Errorf("%d are kept", r.Counts())
	}
	for name, tt := range map[string]struct {
		token view.TokenKeys
		want  bool
	}{
		"token": {view.TokenKeys{Token: sum("jti")}, true}, "grant": {view.TokenKeys{Grant: sum("gid")}, true}, "key": {view.TokenKeys{Key: sum("kid")}, true},
		"subject": {view.TokenKeys{Subject: sum("ada"), Issued: time.Unix(100, 0)}, true}, "subject, later": {view.TokenKeys{Subject: sum("ada"), Issued: time.Unix(101, 0)}, false},
		"none": {view.TokenKeys{Token: sum("gid"), Grant: sum("jti")}, false},
	} {
		if r.Revoked(&tt.token) != tt.want {
			t.Errorf("%s: revoked is %v", name, !tt.want)
		}
	}
}
