// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Normalize brings input into the one form in which equal resources are equal: e-mail addresses in lower case, sets
// sorted, the zero values of enums left out, and defaults that readers should see filled in. It changes o.
func Normalize(o Object) {
	switch o := o.(type) {
	case *Server:
		if o.Visibility == nil {
			o.Visibility = &Visibility{Organization: &struct{}{}} // a registry entry is for the organisation unless it says otherwise
		}
		o.Visibility.normalize()
		unspecified(&o.Affinity, "AFFINITY_UNSPECIFIED")
		unspecified(&o.ToolChanges, "TOOL_CHANGES_UNSPECIFIED")
		o.Credential.normalize()
	case *Connection:
		o.Owner.normalize()
	case *Gateway:
		o.Visibility.normalize()
		if o.Naming != nil {
			unspecified(&o.Naming.Prefix, "NAMING_PREFIX_UNSPECIFIED")
			if o.Naming.Prefix == "" {
				o.Naming = nil
			}
		}
		if o.Authentication != nil && o.Authentication.IDJAG != nil {
			slices.Sort(o.Authentication.IDJAG.IdentityProviders)
		}
		for _, i := range o.Issuers() {
			slices.Sort(i.Audiences)
		}
		slices.SortStableFunc(o.Issuers(), func(a, b JWKSIssuer) int { return cmp.Compare(a.IdentityProvider, b.IdentityProvider) })
		slices.Sort(o.Regions)
		for i, name := range o.PassthroughHeaders {
			o.PassthroughHeaders[i] = strings.ToLower(name)
		}
		slices.Sort(o.PassthroughHeaders)
		slices.SortStableFunc(o.ServerFeatures, func(a, b ServerFeature) int { return cmp.Compare(a.Server, b.Server) })
		unspecified(&o.ResourceURIs, "RESOURCE_URIS_UNSPECIFIED")
		unspecified(&o.DefaultAction, "DEFAULT_ACTION_UNSPECIFIED")
		unspecified(&o.UntrustedContext, "UNTRUSTED_CONTEXT_UNSPECIFIED")
		if o.Extensions != nil {
			slices.Sort(o.Extensions.Allowed)
		}
		for i := range o.RateLimits {
			unspecified(&o.RateLimits[i].Per, "RATE_LIMIT_PER_UNSPECIFIED")
			unspecified(&o.RateLimits[i].WhenUnavailable, "RATE_LIMIT_UNAVAILABLE_UNSPECIFIED")
			slices.Sort(o.RateLimits[i].Tools)
		}
		for i := range o.Tools {
			o.Tools[i].Gateway, o.Tools[i].ResolvedName = "", ""
			slices.Sort(o.Tools[i].RequiredScopes)
			if string(o.Tools[i].FixedArguments) == "{}" {
				o.Tools[i].FixedArguments = nil
			}
		}
		slices.SortStableFunc(o.Tools, func(a, b ToolAssignment) int { return cmp.Compare(a.Tool, b.Tool) })
	case *Team:
		for i := range o.Members {
			o.Members[i].User = lower(o.Members[i].User)
			unspecified(&o.Members[i].Role, "ROLE_UNSPECIFIED")
		}
		slices.SortStableFunc(o.Members, func(a, b TeamMember) int { return cmp.Compare(a.User, b.User) })
	case *User:
		o.Name = lower(o.Name)
		unspecified(&o.Role, "ROLE_UNSPECIFIED")
		if o.Role == "" {
			o.Role = RoleMember
		}
		slices.SortStableFunc(o.Identities, func(a, b Identity) int {
			return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Subject, b.Subject))
		})
	case *IdentityProvider:
		o.normalize()
	case *OAuthClient:
		o.normalize()
	case *Policy:
		o.normalize()
	case *ResultPolicy:
		o.normalize()
	case *BearerToken:
		o.Owner.normalize()
		slices.Sort(o.Gateways)
	}
}

// NormalizeName brings the name of a resource of a kind into its one form.
func NormalizeName(k Kind, name string) string {
	if k == KindUser {
		return lower(name)
	}
	return name
}

func (v *Visibility) normalize() {
	if v == nil {
		return
	}
	if v.Personal != nil {
		v.Personal.Owner = lower(v.Personal.Owner)
	}
	if v.Team != nil {
		slices.Sort(v.Team.Teams)
	}
}

func (c *ServerCredential) normalize() {
	if c == nil {
		return
	}
	c.Version = "" // of the streams only
	if o := c.OAuthClientCredentials; o != nil {
		unspecified(&o.Authentication, "CLIENT_AUTHENTICATION_UNSPECIFIED")
	}
	if o := c.TokenExchange; o != nil {
		unspecified(&o.Grant, "EXCHANGE_GRANT_UNSPECIFIED")
		unspecified(&o.SubjectToken, "SUBJECT_TOKEN_UNSPECIFIED")
		unspecified(&o.Authentication, "CLIENT_AUTHENTICATION_UNSPECIFIED")
	}
}

func (o *Owner) normalize() {
	if o != nil {
		o.User = lower(o.User)
	}
}

func (o *IdentityProvider) normalize() {
	for i, d := range o.EmailDomains {
		o.EmailDomains[i] = lower(d)
	}
	slices.Sort(o.EmailDomains)
	slices.SortStableFunc(o.GroupMappings, func(a, b GroupMapping) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Team, b.Team))
	})
}

// normalize also drops secrets of a client that no longer authenticates with one: they must not come back with it.
func (c *OAuthClient) normalize() {
	unspecified(&c.Authentication, "O_AUTH_CLIENT_AUTHENTICATION_UNSPECIFIED")
	if c.Authentication == "" {
		c.Authentication = ClientAuthNone
	}
	if c.Authentication != ClientAuthSecret {
		c.SecretSHA256, c.SecretTime = nil, time.Time{}
	}
	if c.ClientCredentials != nil {
		slices.Sort(c.ClientCredentials.Gateways)
		slices.Sort(c.ClientCredentials.Scopes)
	}
}

func unspecified[T ~string](v *T, zero T) {
	if *v == zero {
		*v = ""
	}
}

func lower(email string) string { return strings.ToLower(strings.TrimSpace(email)) }
