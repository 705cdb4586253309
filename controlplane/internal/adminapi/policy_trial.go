// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// trials is what made-up calls are decided by.
type trials struct {
	*api
	calls   []*compile.Policy
	results []*compile.ResultPolicy
}

// TestPolicies implements adminv1connect.PolicyServiceHandler. It decides with the code that nodes decide with.
func (s policies) TestPolicies(ctx context.Context, req *adminv1.TestPoliciesRequest) (*adminv1.TestPoliciesResponse, error) {
	t, err := newTrials(ctx, s.api)
	if err != nil {
		return nil, err
	}
	res := &adminv1.TestPoliciesResponse{}
	for i, c := range req.GetCases() {
		r, err := t.try(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("cases[%d]: %w", i, err)
		}
		res.Results = append(res.Results, r)
	}
	return res, nil
}

// newTrials compiles what is stored. What an older version stored and does not compile is what nodes make of it: it blocks what it
// covers.
func newTrials(ctx context.Context, s *api) (*trials, error) {
	calls, results, err := s.catalog.Policies(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	t := &trials{api: s}
	for _, o := range calls {
		m, err := toProto[*resourcev1.Policy](o)
		if err != nil {
			return nil, err
		}
		p, err := compile.MakePolicy(m)
		if err != nil {
			p = compile.Closed(m)
		}
		if p != nil {
			t.calls = append(t.calls, p)
		}
	}
	for _, o := range results {
		m, err := toProto[*resourcev1.ResultPolicy](o)
		if err != nil {
			return nil, err
		}
		p, err := compile.MakeResultPolicy(m)
		if err != nil {
			p = compile.ClosedResult(m)
		}
		if p != nil {
			t.results = append(t.results, p)
		}
	}
	slices.SortFunc(t.calls, compile.ComparePolicies)
	slices.SortFunc(t.results, compile.CompareResultPolicies)
	return t, nil
}

// on returns those policies that concern a gateway.
func (t *trials) on(g *compile.Gateway) (calls []*compile.Policy, results []*compile.ResultPolicy) {
	for _, p := range t.calls {
		if p.On(g) {
			calls = append(calls, p)
		}
	}
	for _, p := range t.results {
		if p.On(g) {
			results = append(results, p)
		}
	}
	return calls, results
}

// try decides one case.
func (t *trials) try(ctx context.Context, c *adminv1.PolicyCase) (*adminv1.PolicyResult, error) {
	g, err := get[*resourcev1.Gateway](ctx, t.api, catalog.KindGateway, c.GetGateway())
	if err != nil {
		return nil, err
	}
	tool, err := get[*resourcev1.Tool](ctx, t.api, catalog.KindTool, c.GetTool())
	if err != nil {
		return nil, err
	}
	gateway, err := compile.MakeGateway(g)
	if err != nil {
		return nil, err //nolint:wrapcheck // a fault
	}
	list, results := t.on(gateway)
	server, name, _ := strings.Cut(tool.GetName(), "/")
	arguments, err := withFixed(g, tool, c)
	if err != nil {
		return nil, err
	}
	r := trial{&adminv1.PolicyResult{Name: c.GetName()}}
	schema := func() *inputschema.Schema { return compile.SchemaOf(tool.GetDefinition()) }
	if err := compile.Misspelt(list, results, server, name, arguments, schema); err != nil {
		r.Action, r.Refusal = resourcev1.PolicyAction_POLICY_ACTION_BLOCK, fault.From(err).Public
		return r.compare(c), nil
	}
	labels := c.GetToolLabels()
	if len(labels) == 0 {
		s, err := get[*resourcev1.Server](ctx, t.api, catalog.KindServer, server)
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
	return r.compare(c), nil
}

// withFixed returns the arguments of a case as a node would see them: with those that the gateway's assignment of the tool fixes.
func withFixed(g *resourcev1.Gateway, tool *resourcev1.Tool, c *adminv1.PolicyCase) ([]byte, error) {
	given := []byte(c.GetArgs())
	i := slices.IndexFunc(g.GetTools(), func(a *resourcev1.ToolAssignment) bool { return a.GetTool() == c.GetTool() })
	if i < 0 || len(g.GetTools()[i].GetFixedArguments().GetFields()) == 0 {
		return given, nil
	}
	t := &compile.Tool{Body: definition(tool.GetDefinition())}
	values := g.GetTools()[i].GetFixedArguments().AsMap()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		raw, err := json.Marshal(values[name])
		if err != nil {
			return nil, err
		}
		t.Fixed = append(t.Fixed, compile.FixedArgument{Name: name, Value: raw})
	}
	var members [][]byte
	if len(given) > 0 {
		if !json.Valid(given) {
			return given, nil // conditions on them fail, as they do on a node
		}
		d := json.NewDecoder(bytes.NewReader(given)) // a map would lose a name that stands twice, on which conditions fail
		if open, _ := d.Token(); open != json.Delim('{') {
			return given, nil
		}
		for d.More() {
			name, _ := d.Token() // the text is valid, here and below
			var value json.RawMessage
			_ = d.Decode(&value)
			if text, _ := name.(string); !t.Fixes([]byte(text)) {
				members = append(members, member(text, value))
			}
		}
	}
	for _, f := range t.Fixed {
		members = append(members, member(f.Name, f.Value))
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}")), nil
}

// member writes a member of a JSON object.
func member(name string, value []byte) []byte {
	quoted, _ := json.Marshal(name) // of a string it does not fail
	return slices.Concat(quoted, []byte(":"), value)
}

// definition is that of a tool.
type definition []byte

// Bytes implements compile.Definition.
func (d definition) Bytes() []byte { return d }

// Len implements compile.Definition.
func (d definition) Len() int { return len(d) }

// trial notes in a result what happens beside the decision.
type trial struct{ *adminv1.PolicyResult }

// compare notes whether a result is what its case expects.
func (r trial) compare(c *adminv1.PolicyCase) *adminv1.PolicyResult {
	want := c.GetExpectAction()
	r.Passed = (want == resourcev1.PolicyAction_POLICY_ACTION_UNSPECIFIED || want == r.Action) &&
		(c.GetExpectPolicy() == "" || c.GetExpectPolicy() == r.Policy)
	return r.PolicyResult
}

// Would implements compile.Watcher.
func (r trial) Would(p *compile.Policy) { r.Shadows = append(r.Shadows, p.Name) }

// Failed implements compile.Watcher.
func (r trial) Failed(p *compile.Policy, _ error) {
	r.PolicyResult.Failed = append(r.PolicyResult.Failed, p.Name)
}
