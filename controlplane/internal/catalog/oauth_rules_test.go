// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// long is a text of n characters.
func long(n int) string { return strings.Repeat("x", n) }

// numbered is n different words.
func numbered(n int, suffix ...string) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("w%d", i) + strings.Join(suffix, "")
	}
	return words
}

func duration(d time.Duration) *resource.Duration {
	r := resource.Duration(d)
	return &r
}

func asserting(change func(*resource.IDJAGTrust)) func(*catalog.IdentityProvider) {
	return func(o *catalog.IdentityProvider) {
		o.IDJAG = &resource.IDJAGTrust{}
		change(o.IDJAG)
	}
}

// TestIdentityProviders has a row for each rule.
func TestIdentityProviders(t *testing.T) {
	type p = catalog.IdentityProvider
	for _, tc := range []struct {
		name, want, field string
		change            func(*p)
	}{
		{"as it should be", "", "", func(*p) {}},
		{"everything", "", "", func(o *p) {
			o.Scopes, o.EmailDomains, o.GroupsClaim = []string{"email", "groups"}, []string{"Example.com", "a.example"}, "roles"
			o.GroupMappings = []resource.GroupMapping{{Group: "E", Team: "eng"}, {Group: "E", Team: "ops"}}
			o.RequiredClaims = map[string]string{"tid": "1"}
			o.JustInTimeUsers, o.LinkByEmail, o.TrustedEmailAddresses = true, true, true
			o.IDJAG = &resource.IDJAGTrust{MaxLifetime: duration(time.Hour), PublicClients: []string{"https://c.example/c.json"}, Tenant: "t", SigningAlgorithms: []string{"ES256", "EdDSA"}}
		}},
		{"assertions", "", "", asserting(func(*resource.IDJAGTrust) {})},
		{"assertions for too long", "invalid INVALID_FIELD", "id_jag.max_lifetime", asserting(func(j *resource.IDJAGTrust) { j.MaxLifetime = duration(61 * time.Minute) })},
		{"assertions for no time", "invalid INVALID_FIELD", "id_jag.max_lifetime", asserting(func(j *resource.IDJAGTrust) { j.MaxLifetime = duration(0) })},
		{"many public clients", "invalid INVALID_FIELD", "id_jag.public_clients", asserting(func(j *resource.IDJAGTrust) { j.PublicClients = numbered(101) })},
		{"public client twice", "invalid INVALID_FIELD", "id_jag.public_clients[1]", asserting(func(j *resource.IDJAGTrust) { j.PublicClients = []string{"c", "c"} })},
		{"empty public client", "invalid INVALID_FIELD", "id_jag.public_clients[0]", asserting(func(j *resource.IDJAGTrust) { j.PublicClients = []string{""} })},
		{"long public client", "invalid INVALID_FIELD", "id_jag.public_clients[0]", asserting(func(j *resource.IDJAGTrust) { j.PublicClients = []string{long(513)} })},
		{"long tenant", "invalid INVALID_FIELD", "id_jag.tenant", asserting(func(j *resource.IDJAGTrust) { j.Tenant = long(257) })},
		{"symmetrical algorithm", "invalid INVALID_FIELD", "id_jag.signing_algorithms[1]", asserting(func(j *resource.IDJAGTrust) { j.SigningAlgorithms = []string{"ES256", "HS256"} })},
		{"algorithm none", "invalid INVALID_FIELD", "id_jag.signing_algorithms[0]", asserting(func(j *resource.IDJAGTrust) { j.SigningAlgorithms = []string{"none"} })},
		{"algorithm twice", "invalid INVALID_FIELD", "id_jag.signing_algorithms[1]", asserting(func(j *resource.IDJAGTrust) { j.SigningAlgorithms = []string{"ES256", "ES256"} })},
		{"name taken", "already_exists RESOURCE_ALREADY_EXISTS", "", func(o *p) { o.Name = "okta" }},
		{"no slug", "invalid INVALID_FIELD", "name", func(o *p) { o.Name = "Okta!" }},
		{"long display name", "invalid INVALID_FIELD", "display_name", func(o *p) { o.DisplayName = long(129) }},
		{"long issuer", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "https://idp.example/" + long(512) }},
		{"long client", "invalid INVALID_FIELD", "client_id", func(o *p) { o.ClientID = long(513) }},
		{"client with a line break", "invalid INVALID_FIELD", "client_id", func(o *p) { o.ClientID = "a\nb" }},
		{"long secret", "invalid INVALID_FIELD", "client_secret", func(o *p) { o.ClientSecret = canary + long(4096) }},
		{"many scopes", "invalid INVALID_FIELD", "scopes", func(o *p) { o.Scopes = numbered(33) }},
		{"scope twice", "invalid INVALID_FIELD", "scopes[1]", func(o *p) { o.Scopes = []string{"email", "email"} }},
		{"many domains", "invalid INVALID_FIELD", "email_domains", func(o *p) { o.EmailDomains = numbered(101, ".example") }},
		{"domain twice", "invalid INVALID_FIELD", "email_domains[1]", func(o *p) { o.EmailDomains = []string{"a.example", "A.example"} }},
		{"long domain", "invalid INVALID_FIELD", "email_domains[0]", func(o *p) { o.EmailDomains = []string{strings.Repeat("abcdefg.", 32) + "example"} }},
		{"long groups claim", "invalid INVALID_FIELD", "groups_claim", func(o *p) { o.GroupsClaim = long(129) }},
		{"many mappings", "invalid INVALID_FIELD", "group_mappings", func(o *p) {
			for _, g := range numbered(1001) {
				o.GroupMappings = append(o.GroupMappings, resource.GroupMapping{Group: g, Team: "eng"})
			}
		}},
		{"long group", "invalid INVALID_FIELD", "group_mappings[0].group", func(o *p) { o.GroupMappings = []resource.GroupMapping{{Group: long(513), Team: "eng"}} }},
		{"no team", "invalid INVALID_FIELD", "group_mappings[0].team", func(o *p) { o.GroupMappings = []resource.GroupMapping{{Group: "x"}} }},
		{"many claims", "invalid INVALID_FIELD", "required_claims", func(o *p) {
			o.RequiredClaims = make(map[string]string)
			for _, c := range numbered(17) {
				o.RequiredClaims[c] = "x"
			}
		}},
		{"long claim", "invalid INVALID_FIELD", "required_claims.tid", func(o *p) { o.RequiredClaims = map[string]string{"tid": long(513)} }},
		{"long name of a claim", "invalid INVALID_FIELD", "required_claims", func(o *p) { o.RequiredClaims = map[string]string{long(129): "x"} }},
		{"http on this machine", "", "", func(o *p) { o.Issuer = "http://127.0.0.1:5556/dex" }},
		{"http by name on this machine", "", "", func(o *p) { o.Issuer = "http://localhost:5556" }},
		{"http elsewhere", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "http://idp.example" }},
		{"query", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "https://idp.example?x=1" }},
		{"fragment", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "https://idp.example#x" }},
		{"user name", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "https://u:p@idp.example" }},
		{"no issuer", "invalid INVALID_FIELD", "issuer", func(o *p) { o.Issuer = "" }},
		{"issuer of another one", "invalid ISSUER_TAKEN", "issuer", func(o *p) { o.Issuer = "https://okta.example" }},
		{"no client", "invalid INVALID_FIELD", "client_id", func(o *p) { o.ClientID = "" }},
		{"secret with a line break", "invalid INVALID_FIELD", "client_secret", func(o *p) { o.ClientSecret = canary + "\n" }},
		{"scope with a space", "invalid INVALID_FIELD", "scopes[0]", func(o *p) { o.Scopes = []string{"email profile"} }},
		{"no domain", "invalid INVALID_FIELD", "email_domains[0]", func(o *p) { o.EmailDomains = []string{"@example.com"} }},
		{"unknown team", "invalid UNKNOWN_REFERENCE", "group_mappings[0].team", func(o *p) { o.GroupMappings = []resource.GroupMapping{{Group: "x", Team: "nope"}} }},
		{"no group", "invalid INVALID_FIELD", "group_mappings[0].group", func(o *p) { o.GroupMappings = []resource.GroupMapping{{Team: "eng"}} }},
		{"mapping twice", "invalid INVALID_FIELD", "group_mappings[1]", func(o *p) {
			o.GroupMappings = []resource.GroupMapping{{Group: "x", Team: "eng"}, {Group: "x", Team: "eng"}}
		}},
		{"claim without a name", "invalid INVALID_FIELD", "required_claims", func(o *p) { o.RequiredClaims = map[string]string{"": "x"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(provider("okta"))
			_, err := o.Create(t.Context(), o.as("root"), provider("new", tc.change), catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error has the secret")
			}
		})
	}
}

// TestOAuthClients has a row for each rule but those of package oauthrule.
func TestOAuthClients(t *testing.T) {
	type c = catalog.OAuthClient
	keyed := func(o *c) { o.Authentication, o.JWKS = resource.ClientAuthPrivateKeyJWT, publicKeys }
	for _, tc := range []struct {
		name, want, field string
		change            func(*c)
	}{
		{"public", "", "", func(*c) {}},
		{"loopback", "", "", func(o *c) { o.RedirectURIs = []string{"http://127.0.0.1/callback", "http://localhost/callback"} }},
		{"private-use scheme", "", "", func(o *c) { o.RedirectURIs = []string{"cursor://anysphere.cursor-mcp/oauth/callback"} }},
		{"trusted", "", "", func(o *c) { o.Trusted = true }},
		{"trusted with a private-use scheme (AZ-14)", "invalid INVALID_FIELD", "redirect_uris[0]", func(o *c) { o.Trusted, o.RedirectURIs = true, []string{"app://x/cb"} }},
		{"denied scheme (REG-7)", "invalid INVALID_FIELD", "redirect_uris[1]", func(o *c) { o.RedirectURIs = append(o.RedirectURIs, "javascript:alert(1)") }},
		{"the same URI twice", "invalid INVALID_FIELD", "redirect_uris[1]", func(o *c) { o.RedirectURIs = append(o.RedirectURIs, o.RedirectURIs[0]) }},
		{"nothing to do", "invalid INVALID_FIELD", "redirect_uris", func(o *c) { o.RedirectURIs = nil }},
		{"nothing but assertions to bring (JAG-6)", "", "", func(o *c) { o.RedirectURIs, o.Authentication = nil, resource.ClientAuthSecret }},
		{"own keys", "", "", keyed},
		{"keys at a URL", "", "", func(o *c) { o.Authentication, o.JWKSURI = resource.ClientAuthPrivateKeyJWT, "https://app.example/jwks" }},
		{"keys at a URL without TLS", "invalid INVALID_FIELD", "jwks_uri", func(o *c) { o.Authentication, o.JWKSURI = resource.ClientAuthPrivateKeyJWT, "http://app.example/jwks" }},
		{"no keys", "invalid INVALID_FIELD", "jwks", func(o *c) { o.Authentication = resource.ClientAuthPrivateKeyJWT }},
		{"keys twice", "invalid INVALID_FIELD", "jwks_uri", func(o *c) { keyed(o); o.JWKSURI = "https://app.example/jwks" }},
		{"keys of a client with a secret", "invalid INVALID_FIELD", "jwks", func(o *c) { o.Authentication, o.JWKS = resource.ClientAuthSecret, publicKeys }},
		{"private key", "invalid INVALID_FIELD", "jwks", func(o *c) { keyed(o); o.JWKS = strings.Replace(publicKeys, `"y"`, `"d":"AQ","y"`, 1) }},
		{"as itself", "", "", actsAt("gw")},
		{"as itself with keys and scopes (TK-19)", "", "", func(o *c) {
			keyed(o)
			o.ClientCredentials = &resource.ClientCredentials{Gateways: []string{"gw"}, Scopes: []string{"mcp", "mcp:write"}}
		}},
		{"as itself without authentication (TK-19)", "invalid INVALID_FIELD", "client_credentials", func(o *c) { o.ClientCredentials = &resource.ClientCredentials{Gateways: []string{"gw"}} }},
		{"as itself nowhere", "invalid INVALID_FIELD", "client_credentials.gateways", actsAt()},
		{"as itself at an unknown gateway", "invalid UNKNOWN_REFERENCE", "client_credentials.gateways[1]", actsAt("gw", "nope")},
		{"as itself with a scope of nothing", "invalid INVALID_FIELD", "client_credentials.scopes[0]", func(o *c) { actsAt("gw")(o); o.ClientCredentials.Scopes = []string{"write"} }},
		{"name taken", "already_exists RESOURCE_ALREADY_EXISTS", "", func(o *c) { o.Name = "taken" }},
		{"no slug", "invalid INVALID_FIELD", "name", func(o *c) { o.Name = "a b" }},
		{"long display name", "invalid INVALID_FIELD", "display_name", func(o *c) { o.DisplayName = long(129) }},
		{"many URIs", "invalid INVALID_FIELD", "redirect_uris", func(o *c) {
			o.RedirectURIs = nil
			for _, n := range numbered(21) {
				o.RedirectURIs = append(o.RedirectURIs, "https://app.example/"+n)
			}
		}},
		{"keys at a URL of a client with a secret", "invalid INVALID_FIELD", "jwks_uri", func(o *c) {
			o.Authentication, o.JWKSURI = resource.ClientAuthSecret, "https://app.example/jwks"
		}},
		{"keys of a public client", "invalid INVALID_FIELD", "jwks", func(o *c) { o.JWKS = publicKeys }},
		{"as itself at many gateways", "invalid INVALID_FIELD", "client_credentials.gateways", actsAt(numbered(101)...)},
		{"as itself at a gateway twice", "invalid INVALID_FIELD", "client_credentials.gateways[1]", actsAt("gw", "gw")},
		{"as itself at no slug", "invalid INVALID_FIELD", "client_credentials.gateways[0]", actsAt("Gw!")},
		{"as itself with many scopes", "invalid INVALID_FIELD", "client_credentials.scopes", func(o *c) {
			actsAt("gw")(o)
			for _, n := range numbered(17) {
				o.ClientCredentials.Scopes = append(o.ClientCredentials.Scopes, "mcp:"+n)
			}
		}},
		{"as itself with a scope twice", "invalid INVALID_FIELD", "client_credentials.scopes[1]", func(o *c) {
			actsAt("gw")(o)
			o.ClientCredentials.Scopes = []string{"mcp", "mcp"}
		}},
		{"unknown authentication", "invalid INVALID_FIELD", "authentication", func(o *c) { o.Authentication = "BASIC" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(gateway("gw", seenBy()), client("taken"))
			_, err := o.Create(t.Context(), o.as("root"), client("new", tc.change), catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}
