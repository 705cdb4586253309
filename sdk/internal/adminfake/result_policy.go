// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

type resultPolicies struct {
	adminv1connect.UnimplementedResultPolicyServiceHandler
	a *API
}

// GetResultPolicy implements the service.
func (s resultPolicies) GetResultPolicy(_ context.Context, req *adminv1.GetResultPolicyRequest) (*adminv1.GetResultPolicyResponse, error) {
	m, err := get[*resourcev1.ResultPolicy](s.a, req.GetName())
	return &adminv1.GetResultPolicyResponse{ResultPolicy: m}, err
}

// ListResultPolicies implements the service.
func (s resultPolicies) ListResultPolicies(_ context.Context, req *adminv1.ListResultPoliciesRequest) (*adminv1.ListResultPoliciesResponse, error) {
	page, next := list[*resourcev1.ResultPolicy](s.a, req.GetPageSize(), req.GetPageToken(), "")
	return &adminv1.ListResultPoliciesResponse{ResultPolicies: page, NextPageToken: next}, nil
}

// DeleteResultPolicy implements the service.
func (s resultPolicies) DeleteResultPolicy(_ context.Context, req *adminv1.DeleteResultPolicyRequest) (*adminv1.DeleteResultPolicyResponse, error) {
	rev, err := remove[*resourcev1.ResultPolicy](s.a, req.GetName(), req.GetEtag())
	return &adminv1.DeleteResultPolicyResponse{Revision: rev}, err
}
