// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// identityProviders serves IdentityProviderService.
type identityProviders struct{ *api }

// CreateIdentityProvider implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) CreateIdentityProvider(ctx context.Context, req *adminv1.CreateIdentityProviderRequest) (*adminv1.CreateIdentityProviderResponse, error) {
	m, w, err := create(ctx, s.api, req.GetIdentityProvider(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateIdentityProviderResponse{IdentityProvider: m, Revision: uint64(w.Revision)}, nil
}

// GetIdentityProvider implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) GetIdentityProvider(ctx context.Context, req *adminv1.GetIdentityProviderRequest) (*adminv1.GetIdentityProviderResponse, error) {
	m, err := get[*resourcev1.IdentityProvider](ctx, s.api, catalog.KindIdentityProvider, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetIdentityProviderResponse{IdentityProvider: m}, nil
}

// ListIdentityProviders implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) ListIdentityProviders(ctx context.Context, req *adminv1.ListIdentityProvidersRequest) (*adminv1.ListIdentityProvidersResponse, error) {
	page, next, err := list[*resourcev1.IdentityProvider](ctx, s.api, catalog.KindIdentityProvider, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListIdentityProvidersResponse{IdentityProviders: page, NextPageToken: next}, nil
}

// UpdateIdentityProvider implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) UpdateIdentityProvider(ctx context.Context, req *adminv1.UpdateIdentityProviderRequest) (*adminv1.UpdateIdentityProviderResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetIdentityProvider(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateIdentityProviderResponse{IdentityProvider: m, Revision: rev}, nil
}

// DeleteIdentityProvider implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) DeleteIdentityProvider(ctx context.Context, req *adminv1.DeleteIdentityProviderRequest) (*adminv1.DeleteIdentityProviderResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindIdentityProvider, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteIdentityProviderResponse{Revision: rev}, nil
}

// CreateScimToken implements adminv1connect.IdentityProviderServiceHandler.
func (s identityProviders) CreateScimToken(ctx context.Context, req *adminv1.CreateScimTokenRequest) (*adminv1.CreateScimTokenResponse, error) {
	w, err := s.catalog.CreateScimToken(ctx, callerOf(ctx), req.GetName(), req.GetDropOthers())
	if err != nil {
		return nil, err
	}
	m, err := toProto[*resourcev1.IdentityProvider](w.Object)
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateScimTokenResponse{IdentityProvider: m, Revision: uint64(w.Revision), ScimToken: w.Token}, nil
}
