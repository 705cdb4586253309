// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

type policies struct {
	adminv1connect.UnimplementedPolicyServiceHandler
	a *API
}

// GetPolicy implements the service.
func (s policies) GetPolicy(_ context.Context, req *adminv1.GetPolicyRequest) (*adminv1.GetPolicyResponse, error) {
	m, err := get[*resourcev1.Policy](s.a, req.GetName())
	return &adminv1.GetPolicyResponse{Policy: m}, err
}

// ListPolicies implements the service.
func (s policies) ListPolicies(_ context.Context, req *adminv1.ListPoliciesRequest) (*adminv1.ListPoliciesResponse, error) {
	page, next := list[*resourcev1.Policy](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListPoliciesResponse{Policies: page, NextPageToken: next}, nil
}

// DeletePolicy implements the service.
func (s policies) DeletePolicy(_ context.Context, req *adminv1.DeletePolicyRequest) (*adminv1.DeletePolicyResponse, error) {
	rev, err := remove[*resourcev1.Policy](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeletePolicyResponse{Revision: rev}, err
}
