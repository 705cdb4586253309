// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// ClientSecret is what [API] answers when an OAuth client's secret is made.
const ClientSecret = "psc_new"

// ScimToken is what [API] answers when a SCIM token is made.
const ScimToken = "psm_new"

type users struct {
	adminv1connect.UnimplementedUserServiceHandler
	a *API
}

// SetUserPassword implements the service.
func (s users) SetUserPassword(_ context.Context, req *adminv1.SetUserPasswordRequest) (*adminv1.SetUserPasswordResponse, error) {
	if _, err := get[*resourcev1.User](s.a, req.GetName()); err != nil {
		return nil, err
	}
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.a.Passwords[req.GetName()] = req.GetPassword()
	return &adminv1.SetUserPasswordResponse{}, nil
}

// GetUser implements the service.
func (s users) GetUser(_ context.Context, req *adminv1.GetUserRequest) (*adminv1.GetUserResponse, error) {
	m, err := get[*resourcev1.User](s.a, req.GetName())
	return &adminv1.GetUserResponse{User: m}, err
}

type providers struct {
	adminv1connect.UnimplementedIdentityProviderServiceHandler
	a *API
}

// GetIdentityProvider implements the service.
func (s providers) GetIdentityProvider(_ context.Context, req *adminv1.GetIdentityProviderRequest) (*adminv1.GetIdentityProviderResponse, error) {
	m, err := get[*resourcev1.IdentityProvider](s.a, req.GetName())
	return &adminv1.GetIdentityProviderResponse{IdentityProvider: m}, err
}

// ListIdentityProviders implements the service.
func (s providers) ListIdentityProviders(_ context.Context, req *adminv1.ListIdentityProvidersRequest) (*adminv1.ListIdentityProvidersResponse, error) {
	page, next := list[*resourcev1.IdentityProvider](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListIdentityProvidersResponse{IdentityProviders: page, NextPageToken: next}, nil
}

// DeleteIdentityProvider implements the service.
func (s providers) DeleteIdentityProvider(_ context.Context, req *adminv1.DeleteIdentityProviderRequest) (*adminv1.DeleteIdentityProviderResponse, error) {
	rev, err := remove[*resourcev1.IdentityProvider](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeleteIdentityProviderResponse{Revision: rev}, err
}

// CreateScimToken implements the service; the token is [ScimToken].
func (s providers) CreateScimToken(_ context.Context, req *adminv1.CreateScimTokenRequest) (*adminv1.CreateScimTokenResponse, error) {
	m, err := get[*resourcev1.IdentityProvider](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	made := proto.CloneOf(m)
	made.ScimTokenTime = timestamppb.Now()
	s.a.store(made, false)
	return &adminv1.CreateScimTokenResponse{IdentityProvider: made, Revision: s.a.head(), ScimToken: ScimToken}, nil
}

type clients struct {
	adminv1connect.UnimplementedOAuthClientServiceHandler
	a *API
}

// GetOAuthClient implements the service.
func (s clients) GetOAuthClient(_ context.Context, req *adminv1.GetOAuthClientRequest) (*adminv1.GetOAuthClientResponse, error) {
	m, err := get[*resourcev1.OAuthClient](s.a, req.GetName())
	return &adminv1.GetOAuthClientResponse{OauthClient: m}, err
}

// ListOAuthClients implements the service.
func (s clients) ListOAuthClients(_ context.Context, req *adminv1.ListOAuthClientsRequest) (*adminv1.ListOAuthClientsResponse, error) {
	page, next := list[*resourcev1.OAuthClient](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListOAuthClientsResponse{OauthClients: page, NextPageToken: next}, nil
}

// DeleteOAuthClient implements the service.
func (s clients) DeleteOAuthClient(_ context.Context, req *adminv1.DeleteOAuthClientRequest) (*adminv1.DeleteOAuthClientResponse, error) {
	rev, err := remove[*resourcev1.OAuthClient](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeleteOAuthClientResponse{Revision: rev}, err
}

// CreateOAuthClientSecret implements the service; the secret is [ClientSecret].
func (s clients) CreateOAuthClientSecret(_ context.Context, req *adminv1.CreateOAuthClientSecretRequest) (*adminv1.CreateOAuthClientSecretResponse, error) {
	m, err := get[*resourcev1.OAuthClient](s.a, req.GetName())
	if err != nil {
		return nil, err
	}
	if m.GetAuthentication() != resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET {
		return nil, Failure(connect.CodeFailedPrecondition, "CLIENT_TAKES_NO_SECRET", "The OAuth client "+m.GetName()+" does not authenticate with a secret.")
	}
	made := proto.CloneOf(m)
	made.SecretTime = timestamppb.Now()
	s.a.store(made, false)
	return &adminv1.CreateOAuthClientSecretResponse{OauthClient: made, Revision: s.a.head(), ClientSecret: ClientSecret}, nil
}
