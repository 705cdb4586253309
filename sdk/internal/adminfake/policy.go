// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"
	"slices"

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

// TestPolicies implements the service: the policy that lists the tool of a case decides it.
func (s policies) TestPolicies(_ context.Context, req *adminv1.TestPoliciesRequest) (*adminv1.TestPoliciesResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	res := &adminv1.TestPoliciesResponse{}
	for _, c := range req.GetCases() {
		r := &adminv1.PolicyResult{Name: c.GetName(), Action: resourcev1.PolicyAction_POLICY_ACTION_ALLOW}
		for _, m := range s.a.resources {
			if p, ok := m.(*resourcev1.Policy); ok && slices.Contains(p.GetTools(), c.GetTool()) {
				r.Action, r.Policy = p.GetAction(), p.GetName()
			}
		}
		r.Passed = (c.GetExpectAction() == 0 || c.GetExpectAction() == r.Action) && (c.GetExpectPolicy() == "" || c.GetExpectPolicy() == r.Policy)
		res.Results = append(res.Results, r)
		s.a.Tried = append(s.a.Tried, c)
	}
	return res, nil
}
