// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Bounds of tokens of identity providers (auth.md §7).
const (
	maxIssuers   = 8
	maxAudiences = 8
	minTokenAge  = time.Minute
	maxTokenAge  = 30 * 24 * time.Hour
)

// gatewayTokens checks how the tokens are checked that gateways accept of an identity provider (JW-3, JW-5, JW-6).
func (p *Problems) gatewayTokens(o *IdentityProvider) {
	if o.JWKSURI != "" {
		p.secureURL("jwks_uri", o.JWKSURI)
	}
	p.unique("signing_algorithms", o.SigningAlgorithms)
	for i, alg := range o.SigningAlgorithms {
		if !slices.Contains(compile.SigningAlgorithms(), alg) {
			p.field(fmt.Sprintf("signing_algorithms[%d]", i), "%q is not one of %s", clip(alg), strings.Join(compile.SigningAlgorithms(), ", "))
		}
	}
	p.between("max_token_age", o.MaxTokenAge, minTokenAge, maxTokenAge)
}

// IssuerAt is the path of a field of an entry of a gateway's authentication.jwks: by the provider, because entries are sorted.
func IssuerAt(i JWKSIssuer, field string) string {
	return "authentication.jwks.issuers[" + clip(i.IdentityProvider) + "]." + field
}

// issuers checks which tokens of identity providers count on a gateway (JW-1).
func (p *Problems) issuers(g *Gateway) {
	if g.Authentication == nil || g.Authentication.JWKS == nil {
		return
	}
	const at = "authentication.jwks.issuers"
	list := g.Issuers()
	if len(list) == 0 {
		p.field(at, "it is empty; name at least one identity provider, or leave jwks out")
	}
	p.count(at, len(list), maxIssuers)
	seen := make(map[string]bool, len(list))
	for _, i := range list {
		p.slug(IssuerAt(i, "identity_provider"), i.IdentityProvider)
		if seen[i.IdentityProvider] {
			p.field(IssuerAt(i, "identity_provider"), "%q is listed twice", clip(i.IdentityProvider))
		}
		seen[i.IdentityProvider] = true
		if len(i.Audiences) == 0 {
			p.field(IssuerAt(i, "audiences"), "it is empty; name what the tokens for this gateway have as \"aud\", such as its URL")
		}
		p.count(IssuerAt(i, "audiences"), len(i.Audiences), maxAudiences)
		p.unique(IssuerAt(i, "audiences"), i.Audiences)
		for n, a := range i.Audiences {
			if a == "" || len(a) > 512 || !printable(a) {
				p.field(IssuerAt(i, fmt.Sprintf("audiences[%d]", n)), "it is not 1 to 512 printable characters")
			}
		}
		for _, claim := range []struct{ field, name string }{{"subject_claim", i.SubjectClaim}, {"scope_claim", i.ScopeClaim}} {
			if len(claim.name) > 128 || !printable(claim.name) {
				p.field(IssuerAt(i, claim.field), "it is not at most 128 printable characters: the name of a claim")
			}
		}
		p.requiredClaims(IssuerAt(i, "required_claims"), i.RequiredClaims)
	}
}
