// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func asserter(name, issuer string, trust *resourcev1.IdJagTrust) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "identity_provider", Name: name, Body: &distributionv1.Resource_IdentityProvider{
		IdentityProvider: &resourcev1.IdentityProvider{Name: name, Issuer: issuer, IdJag: trust},
	}}
}

func asserted(name string, by ...string) *distributionv1.Resource {
	g := gateway(name, forAll())
	g.GetGateway().Authentication = &resourcev1.Authentication{IdJag: &resourcev1.IdJagAuthentication{IdentityProviders: by}}
	return g
}

// JAG-2, JAG-3, JAG-7, JAG-14, AS-8: which assertions are accepted, by providers and gateways as they come from the control
// plane.
func TestAssertions(t *testing.T) {
	f, s := organization(t)
	apply := func(r ...*distributionv1.Resource) *directory.View {
		t.Helper()
		if rejects := f.Apply(t.Context(), s, s.put(r...), false); len(rejects) > 0 {
			t.Fatal(rejects)
		}
		return f.View()
	}
	v := f.View()
	if v.Assertions() || v.Asserter("https://idp.example") != nil || v.TakesAssertions(v.GatewayByName("all"), "okta") {
		t.Error("assertions are accepted of a provider that is for logins")
	}
	v = apply(asserter("okta", "https://idp.example", &resourcev1.IdJagTrust{}))
	if v.Assertions() {
		t.Error("assertions are listed, and no gateway takes them")
	}
	want := &directory.Trust{MaxLifetime: 10 * time.Minute, Algorithms: []string{"ES256", "RS256", "PS256", "EdDSA"}}
	if p := v.Asserter("https://idp.example"); p == nil || !cmp.Equal(want, p.IDJAG) {
		t.Errorf("by default: %+v", p)
	}
	for _, issuer := range []string{"https://idp.example/", "https://IDP.example", ""} {
		if v.Asserter(issuer) != nil {
			t.Errorf("%q is the issuer", issuer)
		}
	}
	v = apply(asserted("managed"), asserted("corps", "corp"))
	managed := v.GatewayByName("managed")
	if !v.Assertions() || managed.OAuth || !v.TakesAssertions(managed, "okta") || v.TakesAssertions(managed, "corp") || v.TakesAssertions(v.GatewayByName("corps"), "okta") {
		t.Error("not exactly the gateways that take assertions of the provider take them")
	}
	if ada := v.UserByName("ada@example.com"); v.MayUse(managed, ada) || !v.Admits(managed, ada) {
		t.Error("a gateway without OAuth is one for a login, or admits nobody")
	}
	v = apply(asserter("okta", "https://idp.example", nil),
		asserter("corp", "https://corp.example", &resourcev1.IdJagTrust{
			MaxLifetime: durationpb.New(time.Minute), PublicClients: []string{"c"}, ResourceFromRequest: true, TrustedAudSub: true, Tenant: "t", AcceptAct: true,
			SigningAlgorithms: []string{"PS512"},
		}))
	want = &directory.Trust{
		MaxLifetime: time.Minute, PublicClients: []string{"c"}, ResourceFromRequest: true, TrustedAudSub: true, Tenant: "t", AcceptAct: true,
		Algorithms: []string{"PS512"},
	}
	if p := v.Asserter("https://corp.example"); p == nil || !cmp.Equal(want, p.IDJAG) || !v.TakesAssertions(v.GatewayByName("corps"), "corp") {
		t.Errorf("as it is set: %+v", p)
	}
}
