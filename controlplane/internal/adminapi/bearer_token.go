// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// bearerTokens serves BearerTokenService.
type bearerTokens struct{ *api }

// CreateBearerToken implements adminv1connect.BearerTokenServiceHandler.
func (s bearerTokens) CreateBearerToken(ctx context.Context, req *adminv1.CreateBearerTokenRequest) (*adminv1.CreateBearerTokenResponse, error) {
	m, w, err := create(ctx, s.api, req.GetBearerToken(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateBearerTokenResponse{BearerToken: m, Revision: uint64(w.Revision), Token: w.Token}, nil
}

// GetBearerToken implements adminv1connect.BearerTokenServiceHandler.
func (s bearerTokens) GetBearerToken(ctx context.Context, req *adminv1.GetBearerTokenRequest) (*adminv1.GetBearerTokenResponse, error) {
	m, err := get[*resourcev1.BearerToken](ctx, s.api, catalog.KindBearerToken, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetBearerTokenResponse{BearerToken: m}, nil
}

// ListBearerTokens implements adminv1connect.BearerTokenServiceHandler.
func (s bearerTokens) ListBearerTokens(ctx context.Context, req *adminv1.ListBearerTokensRequest) (*adminv1.ListBearerTokensResponse, error) {
	page, next, err := list[*resourcev1.BearerToken](ctx, s.api, catalog.KindBearerToken, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListBearerTokensResponse{BearerTokens: page, NextPageToken: next}, nil
}

// RotateBearerToken implements adminv1connect.BearerTokenServiceHandler.
func (s bearerTokens) RotateBearerToken(ctx context.Context, req *adminv1.RotateBearerTokenRequest) (*adminv1.RotateBearerTokenResponse, error) {
	w, err := s.catalog.RotateToken(ctx, callerOf(ctx), req.GetName(), catalog.RotateOptions{
		Overlap: span(req.GetOverlap()), TTL: span(req.GetTtl()), Etag: req.GetEtag(), ValidateOnly: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	m, err := toProto[*resourcev1.BearerToken](w.Object)
	if err != nil {
		return nil, err
	}
	return &adminv1.RotateBearerTokenResponse{BearerToken: m, Revision: uint64(w.Revision), Token: w.Token}, nil
}

// span is a duration of the domain, nil if it is not set.
func span(d *durationpb.Duration) *resource.Duration {
	if d == nil {
		return nil
	}
	out := resource.Duration(d.AsDuration())
	return &out
}

// DeleteBearerToken implements adminv1connect.BearerTokenServiceHandler.
func (s bearerTokens) DeleteBearerToken(ctx context.Context, req *adminv1.DeleteBearerTokenRequest) (*adminv1.DeleteBearerTokenResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindBearerToken, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteBearerTokenResponse{Revision: rev}, nil
}
