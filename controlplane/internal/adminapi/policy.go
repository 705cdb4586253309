// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// policies serves PolicyService.
type policies struct{ *api }

// CreatePolicy implements adminv1connect.PolicyServiceHandler.
func (s policies) CreatePolicy(ctx context.Context, req *adminv1.CreatePolicyRequest) (*adminv1.CreatePolicyResponse, error) {
	m, w, err := create(ctx, s.api, req.GetPolicy(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreatePolicyResponse{Policy: m, Revision: uint64(w.Revision)}, nil
}

// GetPolicy implements adminv1connect.PolicyServiceHandler.
func (s policies) GetPolicy(ctx context.Context, req *adminv1.GetPolicyRequest) (*adminv1.GetPolicyResponse, error) {
	m, err := get[*resourcev1.Policy](ctx, s.api, catalog.KindPolicy, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetPolicyResponse{Policy: m}, nil
}

// ListPolicies implements adminv1connect.PolicyServiceHandler.
func (s policies) ListPolicies(ctx context.Context, req *adminv1.ListPoliciesRequest) (*adminv1.ListPoliciesResponse, error) {
	page, next, err := list[*resourcev1.Policy](ctx, s.api, catalog.KindPolicy, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListPoliciesResponse{Policies: page, NextPageToken: next}, nil
}

// UpdatePolicy implements adminv1connect.PolicyServiceHandler.
func (s policies) UpdatePolicy(ctx context.Context, req *adminv1.UpdatePolicyRequest) (*adminv1.UpdatePolicyResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetPolicy(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdatePolicyResponse{Policy: m, Revision: rev}, nil
}

// DeletePolicy implements adminv1connect.PolicyServiceHandler.
func (s policies) DeletePolicy(ctx context.Context, req *adminv1.DeletePolicyRequest) (*adminv1.DeletePolicyResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindPolicy, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeletePolicyResponse{Revision: rev}, nil
}
