// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// accepts is a gateway that accepts tokens of okta for an audience.
func accepts(name, audience string, change ...func(*resource.JWKSIssuer)) *catalog.Gateway {
	g := gateway(name, seenBy())
	i := resource.JWKSIssuer{IdentityProvider: "okta", Audiences: []string{audience}}
	for _, f := range change {
		f(&i)
	}
	g.Authentication = &resource.Authentication{JWKS: &resource.JWKS{Issuers: []resource.JWKSIssuer{i}}}
	return g
}

func shared(i *resource.JWKSIssuer) { i.SharedAudience = true }

func giving(p *catalog.IdentityProvider) { p.GatewayTokens = true }

// change updates fields of a resource.
func change(o *org, x catalog.Object, mask ...string) {
	o.t.Helper()
	if _, err := o.Update(o.t.Context(), o.as("root"), x, mask, catalog.WriteOptions{}); err != nil {
		o.t.Fatal(err)
	}
}

// withOkta is an organisation with an identity provider that gives tokens to gateways, and one that does not.
func withOkta(t *testing.T) *org {
	t.Helper()
	o := newOrg(t)
	o.create(provider("okta", giving), provider("dex"))
	return o
}

// TestGatewayTokens: how an identity provider's tokens are checked (JW-3, JW-5, JW-6), a row for each rule.
func TestGatewayTokens(t *testing.T) {
	type p = catalog.IdentityProvider
	age := func(d time.Duration) *resource.Duration { return (*resource.Duration)(&d) }
	const bad = "invalid INVALID_FIELD"
	for _, tc := range []struct {
		name, want, field string
		change            func(*p)
	}{
		{"everything", "", "", func(o *p) {
			o.GatewayTokens, o.JWKSURI, o.SigningAlgorithms, o.MaxTokenAge = true, "https://keys.example/jwks?v=1", []string{"ES256", "EdDSA"}, age(time.Hour)
		}},
		{"keys of this machine", "", "", func(o *p) { o.JWKSURI = "http://127.0.0.1:1/keys" }},
		{"keys over http", bad, "jwks_uri", func(o *p) { o.JWKSURI = "http://keys.example" }},
		{"no URL", bad, "jwks_uri", func(o *p) { o.JWKSURI = "keys" }},
		{"long URL", bad, "jwks_uri", func(o *p) { o.JWKSURI = "https://keys.example/" + long(2048) }},
		{"symmetrical", bad, "signing_algorithms[1]", func(o *p) { o.SigningAlgorithms = []string{"ES256", "HS256"} }},
		{"none", bad, "signing_algorithms[0]", func(o *p) { o.SigningAlgorithms = []string{"none"} }},
		{"algorithm twice", bad, "signing_algorithms[1]", func(o *p) { o.SigningAlgorithms = []string{"ES256", "ES256"} }},
		{"a month", "", "", func(o *p) { o.MaxTokenAge = age(30 * 24 * time.Hour) }},
		{"more than a month", bad, "max_token_age", func(o *p) { o.MaxTokenAge = age(30*24*time.Hour + 1) }},
		{"less than a minute", bad, "max_token_age", func(o *p) { o.MaxTokenAge = age(time.Minute - 1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			_, err := o.Create(t.Context(), o.as("root"), provider("new", tc.change), catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

// TestAcceptedIssuers: which tokens a gateway accepts (JW-1, JW-4), a row for each rule.
func TestAcceptedIssuers(t *testing.T) {
	type i = resource.JWKSIssuer
	o := withOkta(t)
	const bad, path = "invalid INVALID_FIELD", "authentication.jwks.issuers[okta]."
	for _, tc := range []struct {
		name, want, field string
		change            func(*i)
	}{
		{"as it should be", "", "", func(*i) {}},
		{"everything", "", "", func(x *i) {
			x.Audiences, x.SubjectClaim, x.ScopeClaim = append(x.Audiences, "api://b"), "oid", "roles"
			x.RequiredClaims, x.AcceptIDTokens, x.RequireATJWT, x.SharedAudience, x.AcceptMissingScope = map[string]string{"tid": "1"}, true, true, true, true
		}},
		{"no provider", bad, "authentication.jwks.issuers[].identity_provider", func(x *i) { x.IdentityProvider = "" }},
		{"unknown provider", "invalid UNKNOWN_REFERENCE", "authentication.jwks.issuers[nope].identity_provider", func(x *i) { x.IdentityProvider = "nope" }},
		{"provider that gives none", "invalid PROVIDER_WITHOUT_GATEWAY_TOKENS", "authentication.jwks.issuers[dex].identity_provider", func(x *i) { x.IdentityProvider = "dex" }},
		{"no audience", bad, path + "audiences", func(x *i) { x.Audiences = nil }},
		{"empty audience", bad, path + "audiences[0]", func(x *i) { x.Audiences = []string{""} }},
		{"long audience", bad, path + "audiences[0]", func(x *i) { x.Audiences = []string{long(513)} }},
		{"audience twice", bad, path + "audiences[1]", func(x *i) { x.Audiences = []string{"a", "a"} }},
		{"many audiences", bad, path + "audiences", func(x *i) { x.Audiences = numbered(9) }},
		{"audience of the login", "invalid AUDIENCE_OF_LOGIN", path + "audiences", func(x *i) { x.Audiences = append(x.Audiences, "penstock") }},
		{"audience of the login, for ID tokens", "", "", func(x *i) { x.Audiences, x.AcceptIDTokens = []string{"penstock"}, true }},
		{"long subject claim", bad, path + "subject_claim", func(x *i) { x.SubjectClaim = long(129) }},
		{"long scope claim", bad, path + "scope_claim", func(x *i) { x.ScopeClaim = long(129) }},
		{"claim without a name", bad, path + "required_claims", func(x *i) { x.RequiredClaims = map[string]string{"": "x"} }},
		{"long claim", bad, path + "required_claims.tid", func(x *i) { x.RequiredClaims = map[string]string{"tid": long(513)} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), accepts("gw", "api://a", tc.change), catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
	for name, list := range map[string][]i{
		"authentication.jwks.issuers":                         {},
		"authentication.jwks.issuers[okta].identity_provider": {{IdentityProvider: "okta", Audiences: []string{"a"}}, {IdentityProvider: "okta", Audiences: []string{"b"}}},
		"authentication.jwks.issuers[w1-x].identity_provider": nil,
	} {
		g := accepts("gw", "a")
		if g.Authentication.JWKS.Issuers = list; list == nil {
			for _, n := range numbered(9, "-x") {
				g.Authentication.JWKS.Issuers = append(g.Authentication.JWKS.Issuers, i{IdentityProvider: n, Audiences: []string{"a"}})
			}
		}
		_, err := o.Create(t.Context(), o.as("root"), g, catalog.WriteOptions{ValidateOnly: true})
		if err == nil {
			t.Errorf("%s is taken", name)
		}
		wantField(t, err, name)
	}
}

// JW-2: an audience is one gateway's, unless both allow more and an ADMIN said so; then a condition warns.
func TestAudiences(t *testing.T) {
	o := withOkta(t)
	o.create(provider("other", giving), accepts("a", "api://a"))
	create := func(who string, g *catalog.Gateway) error {
		_, err := o.Create(t.Context(), o.as(who), g, catalog.WriteOptions{})
		return err
	}
	const taken = "invalid AUDIENCE_TAKEN"
	wantRefusal(t, create("root", accepts("b", "api://a")), taken, `"a"`)
	wantRefusal(t, create("root", accepts("b", "api://a", shared)), taken)
	wantRefusal(t, create("edna", accepts("b", "api://b", shared)), "denied SHARED_AUDIENCE_NEEDS_ADMIN")
	wantRefusal(t, create("root", accepts("c", "api://a", func(i *resource.JWKSIssuer) { i.IdentityProvider = "other" })), "")
	wantRefusal(t, create("edna", accepts("d", "api://d")), "")
	change(o, accepts("a", "api://a", shared), "authentication")
	wantRefusal(t, create("root", accepts("b", "api://a")), taken)
	if reason := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "a"))["SeparateAudiences"]; reason != "" {
		t.Errorf("warned of nothing: %s", reason)
	}
	wantRefusal(t, create("root", accepts("b", "api://a", shared)), "")
	for _, name := range []string{"a", "b"} {
		g := get[*catalog.Gateway](o, catalog.KindGateway, name)
		if reason := conditions(g)["SeparateAudiences"]; reason != "AudienceShared" {
			t.Errorf("%s: the condition is %q", name, reason)
		}
	}
	// What is shared may stay when somebody else changes the gateway, and when one of both no longer allows it.
	g := get[*catalog.Gateway](o, catalog.KindGateway, "b")
	g.Etag, g.Description = "", "x"
	_, err := o.Update(t.Context(), o.as("edna"), g, []string{"description", "authentication"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	_, err = o.Update(t.Context(), o.as("root"), accepts("a", "api://a"), []string{"authentication"}, catalog.WriteOptions{})
	wantRefusal(t, err, taken)
	// A deleted gateway gives its audience away, and does not get it back.
	_, err = o.Delete(t.Context(), o.as("root"), catalog.KindGateway, "d", "", catalog.WriteOptions{})
	wantRefusal(t, err, "")
	wantRefusal(t, create("root", accepts("e", "api://d")), "")
	_, err = o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "d", catalog.WriteOptions{})
	wantRefusal(t, err, taken)
}

// A provider that gateways need is not deleted; switched off it may be, and the gateway says so.
func TestProviderOfGateways(t *testing.T) {
	o := withOkta(t)
	o.create(accepts("gw", "api://a"))
	g := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	if reason := conditions(g)["HasClientAuth"]; reason != "" {
		t.Errorf("condition %q", reason)
	}
	_, err := o.Delete(t.Context(), o.as("root"), catalog.KindIdentityProvider, "okta", "", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition RESOURCE_IN_USE", `gateway "gw"`)
	for _, off := range []func(*catalog.IdentityProvider){
		func(p *catalog.IdentityProvider) { p.GatewayTokens = false },
		func(p *catalog.IdentityProvider) { giving(p); p.Disabled = true },
	} {
		change(o, provider("okta", off), "gateway_tokens", "disabled")
		if reason := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["HasClientAuth"]; reason != "ProvidersOff" {
			t.Errorf("condition %q", reason)
		}
		_, err := o.Update(t.Context(), o.as("root"), &catalog.Gateway{Meta: named("gw"), Description: "x"}, []string{"description"}, catalog.WriteOptions{})
		wantRefusal(t, err, "")
	}
	g = accepts("gw", "api://a")
	g.Authentication.OAuth = &struct{}{}
	change(o, g, "authentication")
	for _, c := range get[*catalog.Gateway](o, catalog.KindGateway, "gw").Status.Conditions {
		if c.Type == "HasClientAuth" && (!c.Status || !strings.Contains(c.Message, "do not count now: okta")) {
			t.Errorf("condition %+v", c)
		}
	}
	if _, err := apply(o, "root", catalog.ApplyOptions{Prune: true}); err != nil {
		t.Errorf("prune of both: %v", err)
	}
}
