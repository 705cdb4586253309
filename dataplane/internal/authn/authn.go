// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Reasons of the faults that Authenticate returns.
const (
	ReasonTokenMissing = "TOKEN_MISSING" // Unauthenticated: no credentials, or a scheme other than Bearer
	ReasonTokenInvalid = "TOKEN_INVALID" // Unauthenticated: never says which check failed beyond expired (RS-4)
	ReasonMalformed    = "INVALID_REQUEST"
	ReasonNoAccess     = "GATEWAY_ACCESS_DENIED"
	ReasonNotReady     = "GATEWAY_NOT_READY" // Unauthenticated: the gateway accepts no method at all (G-3)
)

// MethodBearerToken is the Principal.Method of static bearer tokens.
const MethodBearerToken = "bearer_token"

// Authenticator authenticates requests. It is stateless and safe for concurrent use.
type Authenticator struct {
	now  func() time.Time
	use  func(token string)                       // told the name of each token used
	fail func(ctx context.Context, reason string) // told the reason of each refusal
}

// New returns an Authenticator. used is called with the name of the token of every accepted request, failed with the
// reason of every refusal, one of those above; both must be quick and safe for concurrent use.
func New(now func() time.Time, used func(token string), failed func(ctx context.Context, reason string)) *Authenticator {
	return &Authenticator{now: now, use: used, fail: failed}
}

// Authenticate returns the principal of a request to a gateway of the snapshot, checked in the order of RS-9: malformed
// credentials are Invalid, missing or wrong ones Unauthenticated, a principal that may not use the gateway Denied. The
// texts are the error_description of the challenge; none of them holds a part of the token.
func (a *Authenticator) Authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error) {
	p, err := a.authenticate(s, g, r)
	if err != nil {
		a.fail(r.Context(), fault.From(err).Reason)
	}
	return p, err
}

func (a *Authenticator) authenticate(s *view.Snapshot, g *view.Gateway, r *http.Request) (ident.Principal, error) {
	token, err := bearer(r)
	if err != nil {
		return ident.Principal{}, err
	}
	if !g.BearerTokens {
		return ident.Principal{}, refuse(token)
	}
	if token == "" {
		return ident.Principal{}, fault.New(fault.Unauthenticated, ReasonTokenMissing, "Authentication required")
	}
	t, err := a.static(s, g, token)
	if err != nil {
		return ident.Principal{}, err
	}
	p, err := owner(s, t)
	if err != nil {
		return ident.Principal{}, err
	}
	if !s.Usable(g) || !s.MayUse(g, p) {
		return p, fault.New(fault.Denied, ReasonNoAccess, "You may not use this gateway")
	}
	a.use(t.Name)
	return p, nil
}

// refuse answers for a gateway that accepts no static token: with a token, exactly like an unknown one (ST-12).
func refuse(token string) error {
	if token != "" {
		return invalid()
	}
	return fault.New(fault.Unauthenticated, ReasonNotReady, "No authentication method is configured for this gateway")
}

// static looks a pst_ token up. Its form and checksum are checked before the view is asked (ST-1); the look-up is by
// SHA-256, so its time says nothing about tokens that exist (ST-2).
func (a *Authenticator) static(s *view.Snapshot, g *view.Gateway, token string) (*view.Token, error) {
	_, hash, ok := ident.ParseBearer(token)
	if !ok {
		return nil, invalid()
	}
	t := s.Token(hash)
	if t == nil {
		return nil, invalid()
	}
	if _, listed := t.Gateways[g.Name]; !listed {
		return nil, invalid()
	}
	if !t.Expires.IsZero() && !a.now().Before(t.Expires) {
		return nil, invalid()
	}
	return t, nil
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

func invalid() error {
	return fault.New(fault.Unauthenticated, ReasonTokenInvalid, "The access token is invalid or expired")
}

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
