// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// resultPolicies serves ResultPolicyService.
type resultPolicies struct{ *api }

// CreateResultPolicy implements adminv1connect.ResultPolicyServiceHandler.
func (s resultPolicies) CreateResultPolicy(ctx context.Context, req *adminv1.CreateResultPolicyRequest) (*adminv1.CreateResultPolicyResponse, error) {
	m, w, err := create(ctx, s.api, req.GetResultPolicy(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateResultPolicyResponse{ResultPolicy: m, Revision: uint64(w.Revision)}, nil
}

// GetResultPolicy implements adminv1connect.ResultPolicyServiceHandler.
func (s resultPolicies) GetResultPolicy(ctx context.Context, req *adminv1.GetResultPolicyRequest) (*adminv1.GetResultPolicyResponse, error) {
	m, err := get[*resourcev1.ResultPolicy](ctx, s.api, catalog.KindResultPolicy, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetResultPolicyResponse{ResultPolicy: m}, nil
}

// ListResultPolicies implements adminv1connect.ResultPolicyServiceHandler.
func (s resultPolicies) ListResultPolicies(ctx context.Context, req *adminv1.ListResultPoliciesRequest) (*adminv1.ListResultPoliciesResponse, error) {
	page, next, err := list[*resourcev1.ResultPolicy](ctx, s.api, catalog.KindResultPolicy, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListResultPoliciesResponse{ResultPolicies: page, NextPageToken: next}, nil
}

// UpdateResultPolicy implements adminv1connect.ResultPolicyServiceHandler.
func (s resultPolicies) UpdateResultPolicy(ctx context.Context, req *adminv1.UpdateResultPolicyRequest) (*adminv1.UpdateResultPolicyResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetResultPolicy(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateResultPolicyResponse{ResultPolicy: m, Revision: rev}, nil
}

// DeleteResultPolicy implements adminv1connect.ResultPolicyServiceHandler.
func (s resultPolicies) DeleteResultPolicy(ctx context.Context, req *adminv1.DeleteResultPolicyRequest) (*adminv1.DeleteResultPolicyResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindResultPolicy, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteResultPolicyResponse{Revision: rev}, nil
}
