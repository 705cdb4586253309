// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
)

// TestPolicies implements adminv1connect.PolicyServiceHandler. It decides with the code that nodes decide with.
func (s policies) TestPolicies(ctx context.Context, req *adminv1.TestPoliciesRequest) (*adminv1.TestPoliciesResponse, error) {
	stored, err := s.catalog.Policies(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	var list []*compile.Policy
	for _, o := range stored {
		m, err := toProto[*resourcev1.Policy](o)
		if err != nil {
			return nil, err
		}
		p, err := compile.MakePolicy(m)
		if err != nil { // an older version stored it: nodes block what it covers
			p = compile.Closed(m)
		}
		if p != nil {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, compile.ComparePolicies)
	res := &adminv1.TestPoliciesResponse{}
	for i, c := range req.GetCases() {
		r, err := s.try(ctx, list, c)
		if err != nil {
			return nil, fmt.Errorf("cases[%d]: %w", i, err)
		}
		res.Results = append(res.Results, r)
	}
	return res, nil
}

// try decides one case.
func (s policies) try(ctx context.Context, all []*compile.Policy, c *adminv1.PolicyCase) (*adminv1.PolicyResult, error) {
	g, err := get[*resourcev1.Gateway](ctx, s.api, catalog.KindGateway, c.GetGateway())
	if err != nil {
		return nil, err
	}
	tool, err := get[*resourcev1.Tool](ctx, s.api, catalog.KindTool, c.GetTool())
	if err != nil {
		return nil, err
	}
	gateway, err := compile.MakeGateway(g)
	if err != nil {
		return nil, err //nolint:wrapcheck // a fault
	}
	var list []*compile.Policy
	for _, p := range all {
		if p.On(gateway) {
			list = append(list, p)
		}
	}
	server, name, _ := strings.Cut(tool.GetName(), "/")
	arguments, err := withFixed(g, c)
	if err != nil {
		return nil, err
	}
	labels := c.GetToolLabels()
	if len(labels) == 0 {
		s, err := get[*resourcev1.Server](ctx, s.api, catalog.KindServer, server)
		if err != nil {
			return nil, err
		}
		labels = s.GetLabels()
	}
	f := &condition.Facts{
		Server: server, Tool: name, Definition: bytes.NewBuffer(tool.GetDefinition()), Arguments: arguments,
		ToolLabels: labels, Claims: []byte(c.GetClaims()), Region: c.GetRegion(),
		User: c.GetCaller().GetUser(), Email: c.GetCaller().GetEmail(), Teams: c.GetCaller().GetTeams(), Roles: c.GetCaller().GetRoles(),
		AuthMethod: c.GetCaller().GetAuthMethod(), Client: c.GetCaller().GetClientId(), Token: c.GetCaller().GetTokenId(),
		Gateway: gateway.Name, GatewayLabels: gateway.Labels, Untrusted: c.GetUntrusted(), Sources: c.GetSources(),
		Headers: make(map[string][]string, len(c.GetHeaders())), Time: time.Now(),
	}
	for name, value := range c.GetHeaders() {
		f.Headers[name] = []string{value}
	}
	if c.GetTime() != nil {
		f.Time = c.GetTime().AsTime()
	}
	r := trial{&adminv1.PolicyResult{Name: c.GetName()}}
	d := compile.Decide(list, f, gateway.BlockUnmatched, r)
	switch d.Action {
	case compile.ActionAllow:
		r.Action = resourcev1.PolicyAction_POLICY_ACTION_ALLOW
	case compile.ActionRequireApproval:
		r.Action = resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL
	case compile.ActionBlock, compile.ActionBlockIfUntrusted:
		r.Action = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
	}
	if d.Policy != nil {
		r.Policy = d.Policy.Name
	}
	want := c.GetExpectAction()
	r.Passed = (want == resourcev1.PolicyAction_POLICY_ACTION_UNSPECIFIED || want == r.Action) &&
		(c.GetExpectPolicy() == "" || c.GetExpectPolicy() == r.Policy)
	return r.PolicyResult, nil
}

// withFixed returns the arguments of a case as a node would see them: with those that the gateway's assignment of the tool fixes.
func withFixed(g *resourcev1.Gateway, c *adminv1.PolicyCase) ([]byte, error) {
	for _, a := range g.GetTools() {
		if a.GetTool() != c.GetTool() || len(a.GetFixedArguments().GetFields()) == 0 {
			continue
		}
		var given map[string]json.RawMessage
		if c.GetArgs() != "" && json.Unmarshal([]byte(c.GetArgs()), &given) != nil {
			return []byte(c.GetArgs()), nil //nolint:nilerr // conditions on them fail, as they do on a node
		}
		if given == nil {
			given = make(map[string]json.RawMessage)
		}
		for name, value := range a.GetFixedArguments().AsMap() {
			raw, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			given[name] = raw
		}
		return json.Marshal(given)
	}
	return []byte(c.GetArgs()), nil
}

// trial notes in a result what happens beside the decision.
type trial struct{ *adminv1.PolicyResult }

// Would implements compile.Watcher.
func (r trial) Would(p *compile.Policy) { r.Shadows = append(r.Shadows, p.Name) }

// Failed implements compile.Watcher.
func (r trial) Failed(p *compile.Policy, _ error) {
	r.PolicyResult.Failed = append(r.PolicyResult.Failed, p.Name)
}
