// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"time"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// defaultTokenAge is how old a token of an identity provider may be (auth.md JW-5).
const defaultTokenAge = 24 * time.Hour

// SigningAlgorithms returns the algorithms that tokens of an identity provider may be signed with (RFC 7518 §3.1, RFC 8037
// §3.1): all are asymmetric (JW-3).
func SigningAlgorithms() []string {
	return []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
}

// DefaultScopeClaims are the claims that list scopes, the first that is there (RFC 9068 §2.2.3; "scp" is Entra's and Okta's).
func DefaultScopeClaims() []string { return []string{"scope", "scp"} }

// JWKSIssuer says which tokens of one identity provider count on a gateway (JW-1).
type JWKSIssuer struct {
	Provider           string // name of the identity provider
	Audiences          []string
	SubjectClaim       string
	ScopeClaims        []string // the first that is there counts
	RequiredClaims     map[string]string
	AcceptIDTokens     bool
	RequireATJWT       bool
	AcceptMissingScope bool // a token without any of ScopeClaims has ScopeMCP
}

// Provider is what a node needs of an identity provider whose tokens gateways may accept.
type Provider struct {
	Name, UID      string
	Issuer         string
	ClientID       string // of Penstock: the audience of ID tokens
	KeysURL        string // empty: that of the issuer's discovery document
	Algorithms     []string
	MaxTokenAge    time.Duration
	RequiredClaims map[string]string
}

// MakeProvider reads an identity provider. It is nil if gateways must not accept its tokens.
func MakeProvider(r *resourcev1.IdentityProvider) *Provider {
	if !r.GetGatewayTokens() || r.GetDisabled() {
		return nil
	}
	p := &Provider{
		Name: r.GetName(), UID: r.GetUid(), Issuer: r.GetIssuer(), ClientID: r.GetClientId(), KeysURL: r.GetJwksUri(),
		Algorithms: r.GetSigningAlgorithms(), MaxTokenAge: defaultTokenAge, RequiredClaims: r.GetRequiredClaims(),
	}
	if len(p.Algorithms) == 0 {
		p.Algorithms = []string{"ES256", "RS256", "PS256", "EdDSA"}
	}
	if d := r.GetMaxTokenAge(); d != nil {
		p.MaxTokenAge = d.AsDuration()
	}
	return p
}

func makeJWKSIssuers(list []*resourcev1.JwksIssuer) (out []JWKSIssuer) {
	for _, r := range list {
		i := JWKSIssuer{
			Provider: r.GetIdentityProvider(), Audiences: r.GetAudiences(), SubjectClaim: r.GetSubjectClaim(), ScopeClaims: []string{r.GetScopeClaim()},
			RequiredClaims: r.GetRequiredClaims(), AcceptIDTokens: r.GetAcceptIdTokens(), RequireATJWT: r.GetRequireAtJwt(),
			AcceptMissingScope: r.GetAcceptMissingScope(),
		}
		if i.SubjectClaim == "" {
			i.SubjectClaim = "sub"
		}
		if r.GetScopeClaim() == "" {
			i.ScopeClaims = DefaultScopeClaims()
		}
		out = append(out, i)
	}
	return out
}
