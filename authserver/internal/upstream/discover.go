// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
)

// found is the authorization server of a server.
type found struct {
	oauthclient.Server

	resource     string // what tokens are asked for (RFC 8707); empty: not said
	wantedScopes []string
}

// discover finds the authorization server of a server: the one that an administrator described, else the metadata of the pinned
// issuer, else of the one that the server names (RFC 9728).
func (u *Upstream) discover(ctx context.Context, s *directory.Server) (*found, error) {
	o := s.OAuth
	if o.TokenEndpoint != "" {
		f := &found{
			Server:       oauthclient.Server{Issuer: o.Issuer, Authorize: o.AuthorizationEndpoint, Token: o.TokenEndpoint},
			wantedScopes: o.Scopes, resource: s.URL,
		}
		return f, u.checkEndpoints(f, o.TokenEndpoint)
	}
	issuer, resource, scopes := o.Issuer, s.URL, o.Scopes
	if issuer == "" {
		said, err := u.ask().Resource(ctx, s.Name, s.URL)
		if err != nil {
			return nil, err
		}
		issuer, resource = said.Servers[0], said.Resource
		if len(scopes) == 0 {
			scopes = said.Scopes
		}
	}
	said, err := u.ask().Server(ctx, issuer)
	if err != nil {
		return nil, err
	}
	f := &found{Server: *said, resource: resource, wantedScopes: scopes}
	// OAuth 2.1 and MCP make PKCE a duty, and a list without S256 breaks it. An issuer that an administrator pinned may leave the
	// list out: Entra ID does, and takes S256.
	if !slices.Contains(f.Challenges, "S256") && (len(f.Challenges) > 0 || o.Issuer == "") {
		return nil, refuse(ReasonPKCE, "The authorization server %s does not say that it takes PKCE with S256. If it does, pin it: oauth.issuer.", issuer)
	}
	if len(o.Scopes) == 0 && len(scopes) > 0 && slices.Contains(f.Scopes, offlineAccess) && !slices.Contains(scopes, offlineAccess) {
		f.wantedScopes = append(slices.Clone(scopes), offlineAccess) // or there would be no refresh token
	}
	return f, u.checkEndpoints(f, issuer)
}

const offlineAccess = "offline_access"

func (u *Upstream) checkEndpoints(f *found, issuer string) error {
	if err := u.ask().Secure(oauthclient.TheAuthorization, issuer, f.Authorize); err != nil {
		return err
	}
	if err := u.ask().Secure(oauthclient.TheToken, issuer, f.Token); err != nil {
		return err
	}
	if f.Register != "" {
		return u.ask().Secure(oauthclient.TheRegistration, issuer, f.Register)
	}
	return nil
}
