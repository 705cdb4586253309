// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// dry takes over what dispatch says.
func (x *explanation) dry(d *call.Dry) {
	if t := d.Tool; t != nil {
		x.Tool, x.ExposedName = t.Name, t.Exposed
	}
	x.CloseMatches = d.Close
	for i := range d.Steps {
		one := &d.Steps[i]
		s := x.step(one.Name, one.Err)
		if one.Err == nil && one.Says != "" {
			s.Sentence = one.Says
		}
		if one.Err == nil && one.Unknown != "" {
			s.Outcome, s.Sentence = resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN, one.Unknown
		}
		if one.Err == nil && one.Held != "" {
			s.Outcome, s.Sentence = resourcev1.StepOutcome_STEP_OUTCOME_WOULD_HOLD, one.Held
		}
		for j := range one.Results {
			s.Rules = append(s.Rules, resultOf(&one.Results[j]))
		}
		for j := range one.Rules {
			s.Rules = append(s.Rules, ruleOf(&one.Rules[j]))
		}
		for j := range one.Limits {
			s.Limits = append(s.Limits, limitOf(&one.Limits[j]))
		}
		if one.Credential != nil {
			s.Credential = credentialOf(one.Credential)
		}
	}
}

// limits notes the limits on requests, if there are any.
func (x *explanation) limits(name string, list []call.DryLimit) {
	if len(list) == 0 {
		return
	}
	var refused error
	unknown := false
	for i := range list {
		if refused == nil {
			refused = list[i].Err
		}
		unknown = unknown || !list[i].Known
	}
	s := x.step(name, refused)
	if refused == nil && unknown {
		s.Outcome = resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN
	}
	for i := range list {
		s.Limits = append(s.Limits, limitOf(&list[i]))
	}
}

func ruleOf(r *call.DryRule) *resourcev1.RuleTrace {
	t := &resourcev1.RuleTrace{
		Policy: r.Policy.Name, Action: r.Policy.Action.String(), Shadow: r.Policy.Shadow,
		Covers: r.Covers, Evaluated: r.Counts, Matched: r.Matches, Decided: r.Decided,
	}
	if r.Err != nil {
		t.Error = r.Err.Error()
	}
	return t
}

func resultOf(r *call.DryResult) *resourcev1.RuleTrace {
	t := &resourcev1.RuleTrace{
		Policy: r.Policy.Name, Action: r.Policy.Mark.String(), Shadow: r.Policy.Shadow,
		Covers: r.Covers, Evaluated: r.Matches || r.Err != nil, Matched: r.Matches, Decided: r.Decided,
	}
	if r.Err != nil {
		t.Error = r.Err.Error()
	}
	return t
}

func limitOf(l *call.DryLimit) *resourcev1.LimitTrace {
	t := &resourcev1.LimitTrace{
		Per: l.Per.String(), Limit: uint32(l.Amount), Period: durationpb.New(l.Period), Burst: uint32(l.Burst), Team: l.Team,
		Outcome: resourcev1.StepOutcome_STEP_OUTCOME_OK,
	}
	switch {
	case l.Err != nil:
		t.Outcome = resourcev1.StepOutcome_STEP_OUTCOME_REFUSED
	case !l.Known:
		t.Outcome = resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN
		return t
	}
	t.Left = proto.Uint32(uint32(max(l.Left, 0)))
	return t
}

func credentialOf(c *call.DryCredential) *resourcev1.ExplainedCredential {
	e := &resourcev1.ExplainedCredential{Server: c.Server, Pinned: c.Pinned, State: c.State, AsCaller: c.AsCaller}
	if c.Connection != nil {
		e.Connection, e.Owner = c.Connection.Name, ownerOf(c.Connection)
	}
	return e
}

func ownerOf(c *view.Connection) string {
	switch c.OwnerKind {
	case compile.OwnerUser:
		return "user:" + c.Owner
	case compile.OwnerTeam:
		return "team:" + c.Owner
	default:
		return "organization"
	}
}
