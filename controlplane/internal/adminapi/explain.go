// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// explainWait is how long a question waits for a node, unless it says so itself.
const explainWait = 10 * time.Second

type explains struct{ *api }

// Explain implements adminv1connect.ExplainServiceHandler.
func (s explains) Explain(ctx context.Context, req *adminv1.ExplainRequest) (*adminv1.ExplainResponse, error) {
	q, caller := req.GetQuestion(), callerOf(ctx)
	who := q.GetPrincipal()
	whole, err := s.catalog.Explains(ctx, caller, catalog.ExplainTarget{
		Gateway: q.GetGateway(), User: who.GetUser(), Team: who.GetTeam(), ServiceAccount: who.GetServiceAccount(),
		Token: who.GetBearerToken(), Organization: who.GetOrganization(), Node: req.GetNode() != "",
		Assumes: q.Untrusted != nil || len(q.GetSources()) > 0 || q.GetTime() != nil || q.GetClientId() != "" || q.GetAuthMethod() != "",
	})
	if err != nil {
		return nil, err
	}
	wait := explainWait
	if req.GetTimeout() != nil {
		wait = req.GetTimeout().AsDuration()
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	res, err := s.explainer.Explain(waiting, req)
	if err != nil {
		return nil, err
	}
	e := res.GetExplanation()
	if !caller.System && caller.Role != catalog.RoleAdmin { // as with the list of nodes
		e.Node, e.Region = "", ""
	}
	if !whole {
		abridge(e)
	}
	return res, nil
}

// abridge leaves what the call itself would tell its caller: nothing is behind the step that ends it, and of the policies there is
// only the one that does.
func abridge(e *resourcev1.Explanation) {
	e.Abridged = true
	ended := slices.IndexFunc(e.GetSteps(), func(s *resourcev1.ExplainedStep) bool {
		return s.GetOutcome() == resourcev1.StepOutcome_STEP_OUTCOME_REFUSED || s.GetOutcome() == resourcev1.StepOutcome_STEP_OUTCOME_WOULD_HOLD
	})
	if ended >= 0 {
		e.Steps = e.GetSteps()[:ended+1]
	}
	if !slices.ContainsFunc(e.GetSteps(), func(s *resourcev1.ExplainedStep) bool { return s.GetStep() == "tool" }) { // it was not looked for
		e.Tool, e.ExposedName, e.CloseMatches = "", "", nil
	}
	for i, s := range e.GetSteps() {
		s.Limits = nil
		s.Rules = slices.DeleteFunc(s.GetRules(), func(r *resourcev1.RuleTrace) bool { return i != ended || !r.GetDecided() })
		for _, r := range s.GetRules() {
			r.Error = ""
		}
		if c := s.GetCredential(); c != nil && c.GetOwner() != "user:"+e.GetCaller().GetName() {
			c.Connection, c.Owner = "", ""
		}
	}
}
