// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// oauthClients serves OAuthClientService.
type oauthClients struct{ *api }

// CreateOAuthClient implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) CreateOAuthClient(ctx context.Context, req *adminv1.CreateOAuthClientRequest) (*adminv1.CreateOAuthClientResponse, error) {
	m, w, err := create(ctx, s.api, req.GetOauthClient(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateOAuthClientResponse{OauthClient: m, Revision: uint64(w.Revision)}, nil
}

// GetOAuthClient implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) GetOAuthClient(ctx context.Context, req *adminv1.GetOAuthClientRequest) (*adminv1.GetOAuthClientResponse, error) {
	m, err := get[*resourcev1.OAuthClient](ctx, s.api, catalog.KindOAuthClient, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetOAuthClientResponse{OauthClient: m}, nil
}

// ListOAuthClients implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) ListOAuthClients(ctx context.Context, req *adminv1.ListOAuthClientsRequest) (*adminv1.ListOAuthClientsResponse, error) {
	page, next, err := list[*resourcev1.OAuthClient](ctx, s.api, catalog.KindOAuthClient, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListOAuthClientsResponse{OauthClients: page, NextPageToken: next}, nil
}

// UpdateOAuthClient implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) UpdateOAuthClient(ctx context.Context, req *adminv1.UpdateOAuthClientRequest) (*adminv1.UpdateOAuthClientResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetOauthClient(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateOAuthClientResponse{OauthClient: m, Revision: rev}, nil
}

// DeleteOAuthClient implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) DeleteOAuthClient(ctx context.Context, req *adminv1.DeleteOAuthClientRequest) (*adminv1.DeleteOAuthClientResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindOAuthClient, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteOAuthClientResponse{Revision: rev}, nil
}

// CreateOAuthClientSecret implements adminv1connect.OAuthClientServiceHandler.
func (s oauthClients) CreateOAuthClientSecret(ctx context.Context, req *adminv1.CreateOAuthClientSecretRequest) (*adminv1.CreateOAuthClientSecretResponse, error) {
	w, err := s.catalog.CreateClientSecret(ctx, callerOf(ctx), req.GetName(), req.GetDropOthers())
	if err != nil {
		return nil, err
	}
	m, err := toProto[*resourcev1.OAuthClient](w.Object)
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateOAuthClientSecretResponse{OauthClient: m, Revision: uint64(w.Revision), ClientSecret: w.Token}, nil
}
