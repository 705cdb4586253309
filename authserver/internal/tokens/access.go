// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Access is [grants.Access] on the directory. View returns nil before the directory is there.
type Access struct {
	View func() *directory.View
}

// Usable implements [grants.Access].
func (a Access) Usable(_ context.Context, g store.Grant) (resource string, err error) {
	view := a.View()
	if view == nil {
		return "", noDirectory()
	}
	gateway := view.Gateway(g.Gateway)
	if gateway == nil || gateway.Disabled || !takes(view, gateway, g) {
		return "", lost("gateway_not_available")
	}
	if g.User == "" {
		c := view.Client(g.Client)
		if c == nil || c.Disabled || c.Credentials == nil || !slices.Contains(c.Credentials.Gateways, gateway.Name) {
			return "", lost("client_not_allowed")
		}
		return view.Resource(gateway), nil
	}
	user := view.User(g.User)
	switch {
	case user == nil:
		return "", lost("user_inactive")
	case !view.Admits(gateway, user):
		return "", lost("gateway_access_lost")
	case g.Provider != "" && view.Provider(g.Provider) == nil:
		// The organisation no longer relies on what said who the person is.
		return "", lost("provider_not_available")
	}
	return view.Resource(gateway), nil
}

// takes reports whether a gateway accepts clients on the path that a grant came by (RS-20).
func takes(view *directory.View, gateway *directory.Gateway, g store.Grant) bool {
	if g.Origin != (store.Subject{}) {
		return view.TakesAssertions(gateway, g.Provider)
	}
	return gateway.OAuth
}

func lost(reason string) error {
	return oauthfault.New(oauthfault.InvalidGrant, "The grant is no longer allowed. Log in again.").For(reason)
}

// mint makes an access token (TK-4).
func (e *Endpoint) mint(ctx context.Context, issue grants.Issue, method string) (string, error) {
	now, grant := e.c.Now(), issue.Grant
	claims := grants.Claims{
		Issuer: e.c.Issuer, Subject: grant.User, Audience: issue.Resource, Client: grant.Client,
		Expires: now.Add(e.c.AccessTTL).Unix(), Issued: now.Unix(), ID: uuid.NewString(),
		Scope: strings.Join(issue.Scopes, " "), Method: method, Grant: grant.ID, AMR: grant.AMR,
	}
	if grant.User == "" {
		claims.Subject = grant.Client
	}
	if !grant.AuthTime.IsZero() {
		claims.AuthTime = grant.AuthTime.Unix()
	}
	return e.c.Keys.Sign(ctx, grants.AccessType, claims)
}
