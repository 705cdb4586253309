// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestAssertions has a row for each rule of auth.md §6a that one request shows, and for each case of §16.
func TestAssertions(t *testing.T) {
	type m = map[string]any
	now := time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	bad := func(id, name, reason string, claims m) row {
		return row{id: id, name: name, claims: claims, status: 400, code: "invalid_grant", reason: reason}
	}
	head := func(id, name, reason string, header m) row {
		return row{id: id, name: name, header: header, status: 400, code: "invalid_grant", reason: reason, quiet: true}
	}
	ok := func(id, name string, claims m) row { return row{id: id, name: name, claims: claims} }
	on := func(r row, change func(*bench, *directory.Trust)) row { r.change = change; return r }
	asking := func(r row, pairs ...string) row { r.form = pairs; return r }
	granting := func(r row, scope string) row { r.scope = scope; return r }
	as := func(r row, f func(*http.Request)) row { r.as = f; return r }
	target := func(id, name, reason string, claims m, pairs ...string) row {
		return row{id: id, name: name, claims: claims, form: pairs, status: 400, code: "invalid_target", reason: reason}
	}
	nobody := func(*http.Request) {}
	rows := []row{
		ok("JAG-1", "as it should be", nil),
		{id: "JAG-1", name: "long type in capitals", header: m{"typ": "APPLICATION/OAuth-ID-JAG+JWT"}},
		head("JAG-1", "typ JWT", "assertion_type", m{"typ": "JWT"}),
		head("118", "ID token", "assertion_type", m{"typ": nil}),
		head("JAG-1", "typ a number", "assertion_type", m{"typ": 1}),
		{id: "JAG-1", name: "no assertion", form: []string{"assertion", ""}, status: 400, code: "invalid_request"},
		{id: "JAG-1", name: "JSON serialization", assertion: `{"payload":"e30","protected":"e30","signature":""}`, status: 400, code: "invalid_grant", reason: "assertion_malformed", quiet: true},
		{id: "JAG-1", name: "nonsense", assertion: "nonsense", status: 400, code: "invalid_grant", reason: "assertion_malformed", quiet: true},
		{id: "JAG-1", name: "too long", assertion: strings.Repeat("e", 17<<10), status: 400, code: "invalid_grant", reason: "assertion_malformed", quiet: true},
		{id: "106", name: "untrusted iss", claims: m{"iss": "https://evil.example"}, status: 400, code: "invalid_grant", reason: "issuer_not_trusted", quiet: true},
		{id: "JAG-2", name: "iss of a provider without ID-JAG", claims: m{"iss": otherGiven}, status: 400, code: "invalid_grant", reason: "issuer_not_trusted", quiet: true},
		on(row{id: "JAG-2", name: "provider disabled", status: 400, code: "invalid_grant", reason: "issuer_not_trusted", quiet: true}, func(b *bench, _ *directory.Trust) { b.content.Providers[1].Disabled = true }),
		head("116", "header jwk", "assertion_header", m{"jwk": m{"kty": "EC"}}),
		head("116", "header jku", "assertion_header", m{"jku": "https://evil.example/jwks"}),
		head("JAG-2", "header x5u", "assertion_header", m{"x5u": "https://evil.example/c"}),
		head("JAG-2", "header crit", "assertion_header", m{"crit": []string{"b64"}, "b64": false}),
		{id: "JAG-2", name: "another key", sign: loginfake.Foreign, status: 400, code: "invalid_grant", reason: "signature_invalid"},
		{id: "JAG-2", name: "unknown kid", header: m{"kid": "k2"}, status: 400, code: "invalid_grant", reason: "signature_invalid"},
		on(row{id: "JAG-2", name: "provider away", status: 503, code: "temporarily_unavailable"}, func(b *bench, _ *directory.Trust) { b.idp.Down = true }),
		{id: "115", name: "alg none", header: m{"alg": "none"}, sign: loginfake.None, status: 400, code: "invalid_grant", reason: "algorithm_not_allowed", quiet: true},
		{id: "115", name: "HS256 with the public key", header: m{"alg": "HS256"}, sign: loginfake.PublicAsSecret, status: 400, code: "invalid_grant", reason: "algorithm_not_allowed", quiet: true},
		{id: "115", name: "DER", sign: loginfake.DER, status: 400, code: "invalid_grant", reason: "signature_invalid"},
		on(head("JAG-3", "not on the list of the provider", "algorithm_not_allowed", nil), func(_ *bench, trust *directory.Trust) { trust.Algorithms = []string{"RS256"} }),
		{id: "JAG-3", name: "alg of another kind of key", header: m{"alg": "RS256"}, status: 400, code: "invalid_grant", reason: "signature_invalid"},
		ok("JAG-4", "aud a list of one", m{"aud": []string{issuer}}),
		bad("107", "aud the token endpoint", "audience_differs", m{"aud": issuer + "/api/auth/oauth2/token"}),
		bad("107", "aud another server", "audience_differs", m{"aud": "https://other.example"}),
		bad("107", "aud two", "audience_differs", m{"aud": []string{issuer, "x"}}),
		bad("107", "aud with a slash", "audience_differs", m{"aud": issuer + "/"}),
		bad("JAG-4", "aud missing", "audience_differs", m{"aud": nil}),
		bad("JAG-5", "another client", "assertion_of_another_client", m{"client_id": "robot"}),
		bad("JAG-5", "client_id missing", "claim_malformed", m{"client_id": nil}),
		asking(as(ok("JAG-6", "public client on the list", m{"client_id": claude}), nobody), "client_id", claude),
		{id: "JAG-6", name: "public client not on the list", claims: m{"client_id": "c1"}, as: nobody, form: []string{"client_id", "c1"}, status: 401, code: "invalid_client", reason: "assertion_client_public", quiet: true},
		{id: "JAG-6", name: "confidential client without its secret", as: nobody, form: []string{"client_id", "conf"}, status: 401, code: "invalid_client", reason: "invalid_client", quiet: true},
		bad("110", "exp missing", "claim_missing", m{"exp": nil}),
		bad("110", "two hours", "assertion_lifetime", m{"exp": at(2 * time.Hour)}),
		bad("110", "expired 61 s ago", "assertion_expired", m{"iat": at(-5 * time.Minute), "exp": at(-61 * time.Second)}),
		ok("JAG-7", "expired 59 s ago", m{"iat": at(-5 * time.Minute), "exp": at(-59 * time.Second)}),
		bad("110", "iat 2 min ahead", "assertion_of_the_future", m{"iat": at(2 * time.Minute), "exp": at(5 * time.Minute)}),
		bad("JAG-7", "nbf 2 min ahead", "assertion_of_the_future", m{"nbf": at(2 * time.Minute)}),
		bad("JAG-7", "iat missing", "claim_missing", m{"iat": nil}),
		bad("JAG-7", "exp before iat", "assertion_lifetime", m{"iat": at(30 * time.Second), "exp": at(10 * time.Second)}),
		bad("JAG-7", "exp a text", "claim_malformed", m{"exp": "1785240000"}),
		on(bad("JAG-7", "longer than the provider's", "assertion_lifetime", nil), func(_ *bench, trust *directory.Trust) { trust.MaxLifetime = time.Minute }),
		bad("109", "no jti", "claim_malformed", m{"jti": nil}),
		bad("109", "jti a number", "claim_malformed", m{"jti": 7}),
		bad("JAG-8", "jti too long", "claim_malformed", m{"jti": strings.Repeat("j", 513)}),
		ok("JAG-10", "resource by uid, with a slash", m{"resource": origin + "/v1/mcp/" + gatewayA + "/"}),
		ok("JAG-10", "one gateway in two forms", m{"resource": []string{resA, resA + "/"}}),
		asking(ok("JAG-10", "one chosen of two", m{"resource": []string{resB, resA}}), "resource", resA),
		bad("JAG-10", "foreign resource", "resource_unknown", m{"resource": "https://files.example"}),
		bad("JAG-10", "one known, one foreign", "resource_unknown", m{"resource": []string{resA, "https://files.example"}}),
		bad("JAG-10", "no resource", "resource_missing", m{"resource": nil}),
		asking(bad("JAG-10", "no resource but the parameter, not allowed", "resource_missing", m{"resource": nil}), "resource", resA),
		on(asking(ok("JAG-10", "no resource but the parameter, allowed", m{"resource": nil}), "resource", resA), func(_ *bench, trust *directory.Trust) { trust.ResourceFromRequest = true }),
		on(bad("JAG-10", "neither, allowed", "resource_missing", m{"resource": nil}), func(_ *bench, trust *directory.Trust) { trust.ResourceFromRequest = true }),
		bad("JAG-10", "empty list", "claim_malformed", m{"resource": []string{}}),
		target("112", "parameter differs", "resource_differs", nil, "resource", resB),
		target("JAG-10", "parameter unknown", "resource_unknown", nil, "resource", "https://files.example"),
		target("JAG-10", "two left", "resource_ambiguous", m{"resource": []string{resA, resB}}),
		bad("113", "scope a list", "claim_malformed", m{"scope": []string{"a", "b"}}),
		bad("JAG-11", "scope unknown for the resource", "scope_unknown", m{"scope": "mcp files"}),
		granting(ok("JAG-11", "request without scope is the claim", m{"scope": "mcp mcp:write offline_access"}), "mcp mcp:write"),
		granting(asking(ok("JAG-11", "intersection", m{"scope": "mcp mcp:write"}), "scope", "mcp:write files offline_access"), "mcp:write"),
		ok("JAG-11", "no claim is mcp", m{"scope": nil}),
		{id: "JAG-11", name: "empty intersection", form: []string{"scope", "mcp:write"}, status: 400, code: "invalid_scope", reason: "scope_empty"},
		{id: "JAG-11", name: "empty claim", claims: m{"scope": ""}, status: 400, code: "invalid_scope", reason: "scope_empty"},
		bad("122", "address of somebody, unknown sub, linking off", "login_not_allowed", m{"sub": "new", "email": "u1@example.com", "email_verified": true}),
		bad("JAG-12", "deactivated", "user_deactivated", m{"sub": "sub-3"}),
		bad("JAG-12", "sub missing", "claim_malformed", m{"sub": nil}),
		on(asWide("JAG-12", "made at once", m{"sub": "new", "email": "new@example.com"}), func(b *bench, _ *directory.Trust) { b.makes.Store(true) }),
		on(bad("JAG-12", "address that is called unverified", "login_not_allowed", m{"sub": "new", "email": "new@example.com", "email_verified": false}), func(b *bench, _ *directory.Trust) { b.makes.Store(true) }),
		on(bad("JAG-12", "made, but not for this gateway", "no_access", m{"sub": "new", "email": "new@example.com"}), func(b *bench, _ *directory.Trust) { b.makes.Store(true) }),
		on(row{id: "JAG-12", name: "control plane away", claims: m{"sub": "new"}, status: 503, code: "temporarily_unavailable"}, func(b *bench, _ *directory.Trust) {
			b.answer.Store(fault.New(fault.Unavailable, "CONTROL_PLANE_UNAVAILABLE", "It is away."))
		}),
		bad("JAG-12", "aud_sub of a provider that is not trusted for it", "login_not_allowed", m{"sub": "new", "aud_sub": user1}),
		on(ok("JAG-12", "aud_sub", m{"sub": "new", "aud_sub": user1}), trusted),
		on(bad("JAG-12", "aud_sub of nobody", "aud_sub_unknown", m{"sub": "new", "aud_sub": "nobody"}), trusted),
		on(bad("JAG-12", "aud_sub beside the account of somebody deactivated", "user_deactivated", m{"sub": "sub-3", "aud_sub": user1}), trusted),
		on(bad("JAG-12", "required claim missing", "required_claim_missing", nil), func(b *bench, _ *directory.Trust) {
			b.content.Providers[1].RequiredClaims = map[string]string{"tid": "t1"}
		}),
		bad("121", "tenant where none is pinned", "tenant_differs", m{"tenant": "t1"}),
		on(bad("121", "another tenant", "tenant_differs", m{"tenant": "t2"}), pinned),
		on(bad("JAG-13", "no tenant", "tenant_differs", nil), pinned),
		on(ok("JAG-13", "the tenant", m{"tenant": "t1"}), pinned),
		bad("JAG-14", "gateway with OAuth alone", "method_off", m{"resource": origin + "/v1/mcp/login"}),
		bad("JAG-14", "gateway for another provider", "method_off", m{"resource": origin + "/v1/mcp/corps"}),
		bad("JAG-14", "gateway disabled", "method_off", m{"resource": origin + "/v1/mcp/shut"}),
		bad("JAG-14", "no access", "no_access", m{"resource": resB}),
		bad("JAG-14", "somebody else without access", "no_access", m{"sub": "sub-2"}),
		bad("119", "cnf", "assertion_bound", m{"cnf": m{"jkt": "x"}}),
		on(row{id: "JAG-17", name: "of our own", claims: m{"iss": issuer}, status: 400, code: "invalid_grant", reason: "assertion_of_our_own", quiet: true}, func(b *bench, _ *directory.Trust) { b.content.Providers[1].Issuer = issuer }),
		bad("JAG-18", "authorization_details", "authorization_details", m{"authorization_details": []m{{"type": "x"}}}),
		bad("JAG-18", "act", "act", m{"act": m{"sub": "agent"}}),
		on(ok("JAG-18", "act, accepted", m{"act": m{"sub": "agent"}}), func(_ *bench, trust *directory.Trust) { trust.AcceptAct = true }),
		on(bad("JAG-18", "authorization_details are never accepted", "authorization_details", m{"authorization_details": []m{{"type": "x"}}}), func(_ *bench, trust *directory.Trust) { trust.AcceptAct = true }),
		bad("JAG-1", "auth_time a text", "claim_malformed", m{"auth_time": "now"}),
		bad("JAG-1", "amr a text", "claim_malformed", m{"amr": "pwd"}),
		bad("JAG-1", "email a number", "claim_malformed", m{"email": 1}),
		bad("JAG-1", "sub null", "claim_malformed", m{"sub": json.RawMessage("null")}),
		bad("JAG-1", "sub with a line break", "claim_malformed", m{"sub": "a\nb"}),
		{id: "JAG-5", name: "client that registered itself", status: 400, code: "unauthorized_client", reason: "grant_type_not_allowed", quiet: true, as: nobody, form: []string{"client_id", dynamic}, change: func(b *bench, _ *directory.Trust) { b.registers() }},
	}
	for _, r := range rows {
		t.Run(r.id+" "+r.name, func(t *testing.T) { r.run(t) })
	}
}

func trusted(_ *bench, trust *directory.Trust) { trust.TrustedAudSub = true }

func pinned(_ *bench, trust *directory.Trust) { trust.Tenant = "t1" }

// asWide is for the gateway that everybody may use.
func asWide(id, name string, claims map[string]any) row {
	claims["resource"] = origin + "/v1/mcp/wide"
	return row{id: id, name: name, claims: claims}
}
