// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// connections serves ConnectionService.
type connections struct{ *api }

// CreateConnection implements adminv1connect.ConnectionServiceHandler.
func (s connections) CreateConnection(ctx context.Context, req *adminv1.CreateConnectionRequest) (*adminv1.CreateConnectionResponse, error) {
	m, w, err := create(ctx, s.api, req.GetConnection(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateConnectionResponse{Connection: m, Revision: uint64(w.Revision)}, nil
}

// GetConnection implements adminv1connect.ConnectionServiceHandler.
func (s connections) GetConnection(ctx context.Context, req *adminv1.GetConnectionRequest) (*adminv1.GetConnectionResponse, error) {
	m, err := get[*resourcev1.Connection](ctx, s.api, catalog.KindConnection, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetConnectionResponse{Connection: m}, nil
}

// ListConnections implements adminv1connect.ConnectionServiceHandler.
func (s connections) ListConnections(ctx context.Context, req *adminv1.ListConnectionsRequest) (*adminv1.ListConnectionsResponse, error) {
	page, next, err := list[*resourcev1.Connection](ctx, s.api, catalog.KindConnection, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListConnectionsResponse{Connections: page, NextPageToken: next}, nil
}

// UpdateConnection implements adminv1connect.ConnectionServiceHandler.
func (s connections) UpdateConnection(ctx context.Context, req *adminv1.UpdateConnectionRequest) (*adminv1.UpdateConnectionResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetConnection(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateConnectionResponse{Connection: m, Revision: rev}, nil
}

// CreateConnectLink implements adminv1connect.ConnectionServiceHandler.
func (s connections) CreateConnectLink(ctx context.Context, req *adminv1.CreateConnectLinkRequest) (*adminv1.CreateConnectLinkResponse, error) {
	link, err := s.catalog.CreateConnectLink(ctx, callerOf(ctx), req.GetServer())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateConnectLinkResponse{Url: link.URL, ExpireTime: timestamppb.New(link.ExpireTime)}, nil
}

// DeleteConnection implements adminv1connect.ConnectionServiceHandler.
func (s connections) DeleteConnection(ctx context.Context, req *adminv1.DeleteConnectionRequest) (*adminv1.DeleteConnectionResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindConnection, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteConnectionResponse{Revision: rev}, nil
}
