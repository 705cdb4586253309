// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"crypto/ecdsa"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/authn/accesstoken"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/keyset"
)

// Reasons of the faults that Authenticate returns.
const (
	ReasonTokenMissing = "TOKEN_MISSING" // Unauthenticated: no credentials, or a scheme other than Bearer
	ReasonTokenInvalid = "TOKEN_INVALID" // Unauthenticated: never says which check failed beyond expired (RS-4)
	ReasonTokenExpired = "TOKEN_EXPIRED" // Unauthenticated: everything else about the token is in order
	ReasonTokenRevoked = "TOKEN_REVOKED" // Unauthenticated, to the client as invalid: taken away before it expired
	ReasonMalformed    = "INVALID_REQUEST"
	ReasonNoAccess     = "GATEWAY_ACCESS_DENIED"
	ReasonNotReady     = "GATEWAY_NOT_READY" // Unauthenticated: the gateway accepts no method at all (G-3)
	ReasonStale        = "REVOCATIONS_STALE" // Unavailable: whether the token was revoked is not known (RS-12)
	ReasonNoIssuer     = "ISSUER_NOT_LOADED" // Unavailable: the authserver's keys are not known yet
)

// MethodBearerToken is the Principal.Method of static bearer tokens; that of access tokens is their claim pst_method,
// "oauth", "client_credentials" or "id_jag"; MethodJWKS is that of tokens of identity providers.
const (
	MethodBearerToken = "bearer_token"
	MethodJWKS        = "jwks"
)

// degradedAfter is the silence of the control plane after which a node is degraded (RS-12, D-62).
const degradedAfter = 60 * time.Second

// Issuer is the authserver whose access tokens count (issuer room).
type Issuer interface {
	// Issuer returns the issuer identifier, empty as long as it is not known.
	Issuer() string
	// Key returns a public key by kid, nil if there is none. It may wait for one that is not known, never for one that is.
	Key(ctx context.Context, kid string) *ecdsa.PublicKey
}

// ProviderKeys are the keys of identity providers (providers room).
type ProviderKeys interface {
	// Key returns the key that an algorithm's signatures are checked with, by kid, nil if there is none; without a kid the only
	// one. It may wait for one that is not known, never for one that is. It is Unavailable while the provider's keys are not known.
	Key(ctx context.Context, p *view.Provider, kid, algorithm string) (*keyset.Key, error)
}

// Config is what an Authenticator needs. All functions must be quick and safe for concurrent use.
type Config struct {
	Now func() time.Time
	// Used is told the name of the static token of each accepted request.
	Used func(token string)
	// Failed is told the reason of each refusal, one of those above.
	Failed func(ctx context.Context, reason string)
	// Issuer is asked about access tokens.
	Issuer Issuer
	// Providers is asked about tokens of identity providers.
	Providers ProviderKeys
	// Resources is what the canonical resource of every gateway begins with; its name follows (AZ-6). For example
	// "https://gw.example.com/v1/mcp/".
	Resources string
	// StaleFor is how long no control plane was heard (D-62); zero while one is.
	StaleFor func() time.Duration
	// MaxStale is for how long static tokens and those of identity providers count while the node is degraded; zero refuses
	// tokens of every kind as soon as it is (RS-12).
	MaxStale time.Duration
}

// Authenticator authenticates requests. It is safe for concurrent use.
type Authenticator struct {
	c       Config
	cache   cache[verified] // of access tokens
	foreign cache[foreign]  // of tokens of identity providers
}

// New returns an Authenticator. Every field of the Config is required but MaxStale.
func New(c Config) (*Authenticator, error) {
	if c.Now == nil || c.Used == nil || c.Failed == nil || c.Issuer == nil || c.Providers == nil || c.Resources == "" || c.StaleFor == nil || c.MaxStale < 0 {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "authn needs all parts of its Config")
	}
	return &Authenticator{c: c}, nil
}

// Authenticate returns the principal of a request to a gateway of the snapshot, checked in the order of RS-9: malformed
// credentials are Invalid, missing or wrong ones Unauthenticated, a principal that may not use the gateway Denied. The
// texts are the error_description of the challenge; none of them holds a part of the token.
func (a *Authenticator) Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error) {
	p, err := a.authenticate(s, g, r)
	if err != nil {
		a.c.Failed(r.Context(), fault.From(err).Reason)
	}
	return p, err
}

// authenticate takes one path by the shape of the token, and no other after it (RS-20).
func (a *Authenticator) authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (p ident.Principal, err error) {
	token, err := bearer(r)
	if err != nil {
		return p, err
	}
	used, lasting := "", false // lasting: nobody but the node stream says when the token is taken away
	switch {
	case !ready(s, g):
		return p, refuse(token)
	case token == "":
		return p, fault.New(fault.Unauthenticated, ReasonTokenMissing, "Authentication required")
	case strings.HasPrefix(token, "pst_"):
		lasting = true
		p, used, err = a.static(s, g, token)
	case accesstoken.Looks(token):
		p, err = a.jwt(r.Context(), s, g, token)
		lasting = p.Method == MethodJWKS
	default:
		err = invalid()
	}
	if err != nil {
		return p, err
	}
	if err := a.admit(s, g, p, lasting); err != nil {
		return p, err
	}
	if used != "" {
		a.c.Used(used)
	}
	return p, nil
}

// admit decides whether a principal who has proved itself may use a gateway now. lasting says that nobody but the node stream says
// when what it proved itself with is taken away.
func (a *Authenticator) admit(s *view.Snapshot, g *view.Gateway, p ident.Principal, lasting bool) error {
	if !s.Usable(g) || !s.MayUse(g, p) {
		return fault.New(fault.Denied, ReasonNoAccess, "You may not use this gateway")
	}
	return a.fresh(lasting)
}

// fresh decides whether tokens of a kind still count while nobody tells this node what was revoked (RS-12). Access tokens
// do until they expire, which is soon: their clients get no other one without the authserver's consent.
func (a *Authenticator) fresh(lasting bool) error {
	if !lasting && a.c.MaxStale > 0 {
		return nil
	}
	silent := a.c.StaleFor()
	if silent <= degradedAfter || silent <= a.c.MaxStale {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonStale, "This node cannot tell which tokens were revoked").After(degradedAfter)
}

// ready reports whether the gateway accepts any token at all.
func ready(s *view.Snapshot, g *view.Gateway) bool {
	return g.BearerTokens || g.AccessTokens() || s.Issuers(g) != nil
}

// refuse answers for a gateway that accepts no token at all: with one, exactly like an unknown one (ST-12).
func refuse(token string) error {
	if token != "" {
		return invalid()
	}
	return fault.New(fault.Unauthenticated, ReasonNotReady, "No authentication method is configured for this gateway")
}

// static returns the principal and the name of a pst_ token. Its form and checksum are checked before the view is asked
// (ST-1); the look-up is by SHA-256, so its time says nothing about tokens that exist (ST-2).
func (a *Authenticator) static(s *view.Snapshot, g *view.Gateway, token string) (p ident.Principal, name string, err error) {
	_, hash, ok := ident.ParseBearer(token)
	if !g.BearerTokens || !ok {
		return p, "", invalid()
	}
	t := s.Token(hash)
	if t == nil {
		return p, "", invalid()
	}
	p, err = a.accept(s, g, t)
	return p, t.Name, err
}

// accept returns the principal of a token that the gateway knows.
func (a *Authenticator) accept(s *view.Snapshot, g *view.Gateway, t *view.Token) (p ident.Principal, err error) {
	if !g.BearerTokens {
		return p, invalid()
	}
	if _, listed := t.Gateways[g.Name]; !listed {
		return p, invalid()
	}
	if !t.Expires.IsZero() && !a.c.Now().Before(t.Expires) {
		return p, invalid()
	}
	return owner(s, t)
}

// owner makes the principal a token acts as. A dead owner makes the token invalid (ST-9).
func owner(s *view.Snapshot, t *view.Token) (ident.Principal, error) {
	p := ident.Principal{
		Name: t.Owner, Method: MethodBearerToken, TokenID: t.UID, Scopes: t.Scopes, Expires: t.Expires,
	}
	switch t.OwnerKind {
	case compile.OwnerUser:
		u := s.User(t.Owner)
		if u == nil {
			return p, invalid()
		}
		p.Kind, p.UID = ident.KindUser, u.UID
	case compile.OwnerTeam:
		team := s.Team(t.Owner)
		if team == nil {
			return p, invalid()
		}
		p.Kind, p.UID = ident.KindTeam, team.UID
	case compile.OwnerOrganization:
		p.Kind, p.UID = ident.KindOrganization, ident.OrganizationUID
	case compile.OwnerServiceAccount:
		p.Kind, p.UID = ident.KindServiceAccount, t.Owner
	default:
		return p, invalid()
	}
	return p, nil
}

const textInvalid = "The access token is invalid or expired"

func invalid() error { return fault.New(fault.Unauthenticated, ReasonTokenInvalid, textInvalid) }

// bearer returns the token of the Authorization header, empty if there is none or its scheme is another one (RS-7). A
// token anywhere else is refused, so that it never ends in logs of proxies (ST-8).
func bearer(r *http.Request) (string, error) {
	if strings.Contains(r.URL.RawQuery, "access_token") && queryHasToken(r.URL) {
		return "", malformed("The access token must be in the Authorization header, not in the URL")
	}
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", malformed("There is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	token = strings.Trim(token, " ")
	if token == "" || strings.ContainsAny(token, " \t\r\n,") {
		return "", malformed("The Authorization header must be: Bearer <token>")
	}
	return token, nil
}

func queryHasToken(u *url.URL) bool {
	_, found := u.Query()["access_token"]
	return found
}

func malformed(text string) error { return fault.New(fault.Invalid, ReasonMalformed, text) }
