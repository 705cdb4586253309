// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// tools serves ToolService.
type tools struct{ *api }

// GetTool implements adminv1connect.ToolServiceHandler.
func (s tools) GetTool(ctx context.Context, req *adminv1.GetToolRequest) (*adminv1.GetToolResponse, error) {
	m, err := get[*resourcev1.Tool](ctx, s.api, catalog.KindTool, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetToolResponse{Tool: m}, nil
}

// ListTools implements adminv1connect.ToolServiceHandler.
func (s tools) ListTools(ctx context.Context, req *adminv1.ListToolsRequest) (*adminv1.ListToolsResponse, error) {
	page, next, err := list[*resourcev1.Tool](ctx, s.api, catalog.KindTool, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListToolsResponse{Tools: page, NextPageToken: next}, nil
}

// AcceptTool implements adminv1connect.ToolServiceHandler.
func (s tools) AcceptTool(ctx context.Context, req *adminv1.AcceptToolRequest) (*adminv1.AcceptToolResponse, error) {
	w, err := s.catalog.AcceptTool(ctx, callerOf(ctx), req.GetName(), req.GetPendingBodyHash(),
		catalog.WriteOptions{ValidateOnly: req.GetValidateOnly()})
	if err != nil {
		return nil, err
	}
	m, err := toProto[*resourcev1.Tool](w.Object)
	if err != nil {
		return nil, err
	}
	return &adminv1.AcceptToolResponse{Tool: m, Revision: uint64(w.Revision)}, nil
}
