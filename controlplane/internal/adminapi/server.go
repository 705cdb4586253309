// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// servers serves ServerService.
type servers struct{ *api }

// CreateServer implements adminv1connect.ServerServiceHandler.
func (s servers) CreateServer(ctx context.Context, req *adminv1.CreateServerRequest) (*adminv1.CreateServerResponse, error) {
	m, w, err := create(ctx, s.api, req.GetServer(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateServerResponse{Server: m, Revision: uint64(w.Revision)}, nil
}

// GetServer implements adminv1connect.ServerServiceHandler.
func (s servers) GetServer(ctx context.Context, req *adminv1.GetServerRequest) (*adminv1.GetServerResponse, error) {
	m, err := get[*resourcev1.Server](ctx, s.api, catalog.KindServer, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetServerResponse{Server: m}, nil
}

// ListServers implements adminv1connect.ServerServiceHandler.
func (s servers) ListServers(ctx context.Context, req *adminv1.ListServersRequest) (*adminv1.ListServersResponse, error) {
	page, next, err := list[*resourcev1.Server](ctx, s.api, catalog.KindServer, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListServersResponse{Servers: page, NextPageToken: next}, nil
}

// UpdateServer implements adminv1connect.ServerServiceHandler.
func (s servers) UpdateServer(ctx context.Context, req *adminv1.UpdateServerRequest) (*adminv1.UpdateServerResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetServer(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateServerResponse{Server: m, Revision: rev}, nil
}

// DeleteServer implements adminv1connect.ServerServiceHandler.
func (s servers) DeleteServer(ctx context.Context, req *adminv1.DeleteServerRequest) (*adminv1.DeleteServerResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindServer, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteServerResponse{Revision: rev}, nil
}

// UndeleteServer implements adminv1connect.ServerServiceHandler.
func (s servers) UndeleteServer(ctx context.Context, req *adminv1.UndeleteServerRequest) (*adminv1.UndeleteServerResponse, error) {
	m, rev, err := undelete[*resourcev1.Server](ctx, s.api, catalog.KindServer, req.GetName(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UndeleteServerResponse{Server: m, Revision: rev}, nil
}

// AcceptServerInstructions implements adminv1connect.ServerServiceHandler.
func (s servers) AcceptServerInstructions(ctx context.Context, req *adminv1.AcceptServerInstructionsRequest) (*adminv1.AcceptServerInstructionsResponse, error) {
	w, err := s.catalog.AcceptInstructions(ctx, callerOf(ctx), req.GetName(), req.GetPendingInstructionsHash(),
		catalog.WriteOptions{ValidateOnly: req.GetValidateOnly()})
	if err != nil {
		return nil, err
	}
	m, err := toProto[*resourcev1.Server](w.Object)
	if err != nil {
		return nil, err
	}
	return &adminv1.AcceptServerInstructionsResponse{Server: m, Revision: uint64(w.Revision)}, nil
}
