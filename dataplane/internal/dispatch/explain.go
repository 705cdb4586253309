// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Explain takes a tools/call as far as [Dispatcher.Call] does before it asks the server, and tells dry what becomes of it (G-36): by the
// same code, but that nothing is counted, no credential is fetched and no refusal ends it.
func (d *Dispatcher) Explain(ctx context.Context, c call.Caller, k call.Call, dry *call.Dry) {
	if d.searches(c.Gateway) && compile.Reserved(k.Name) && d.door(&c, &k, dry) {
		return
	}
	t, err := d.find(&c, &k)
	if err != nil {
		_ = dry.Step(call.StepTool, err)
		if d.Search != nil {
			dry.Close = d.Search.Near(&c, k.Name)
		}
		return
	}
	if dry.Tool = t.tool; len(dry.Steps) == 0 {
		dry.At(call.StepTool)
	}
	if err = withFixed(&k, &t); err != nil || t.tool != nil && len(t.tool.Fixed) > 0 {
		if _ = dry.Step(call.StepFixed, err); err != nil {
			return
		}
	}
	_, _, _ = d.passes(ctx, &c, &k, &t, dry) // each of its steps says how it ended
}

// door is ownTool for a call that is not made. It is done if nothing is left to explain.
func (d *Dispatcher) door(c *call.Caller, k *call.Call, dry *call.Dry) (done bool) {
	arguments := k.Message.P.Arguments.Of(k.Body)
	if k.Name == compile.SearchTools {
		dry.At(call.StepTool)
		step := dry.At(call.StepArguments)
		if dry.ArgumentsUnknown {
			step.Unknown = argumentsUnknown
			return true
		}
		step.Err = d.Search.Check(arguments)
		return true
	}
	run, err := d.Search.Open(c, arguments)
	name, _ := wire.DecodeString(wire.Get(arguments, "tool_name"))
	tool := c.Snapshot.ToolToRun(c.Gateway, name)
	switch {
	case err != nil:
		dry.At(call.StepTool)
		_ = dry.Step(call.StepArguments, err)
		return true
	case tool == nil || compile.Reserved(name):
		_ = dry.Step(call.StepTool, fault.New(fault.NotFound, run.Reason, run.Text))
		dry.Close = d.Search.Near(c, name)
		return true
	}
	dry.At(call.StepTool)
	step := dry.At(call.StepArguments)
	if run.Tool == nil {
		if run.Arguments = wire.Get(arguments, "arguments"); run.Arguments == nil {
			run.Arguments = wire.Get(arguments, "tool_args")
		}
		if dry.ArgumentsUnknown {
			step.Unknown = argumentsUnknown
		} else {
			step.Err = fault.New(fault.Invalid, run.Reason, run.Text)
		}
	}
	opened, err := unwrapped(k, tool.Exposed, run.Arguments)
	if err != nil {
		step.Err = err
		return true
	}
	*k = opened
	return false
}

const argumentsUnknown = "No arguments were given, so that they were not checked against the input schema."

// assumed is what is taken for the context of a call that is not made: a new one, unless the question says another.
func (d *Dispatcher) assumed(c *call.Caller, dry *call.Dry) call.Trust {
	switch {
	case dry.Untrusted != nil:
		return call.Trust{Untrusted: *dry.Untrusted, Sources: dry.Sources}
	case c.Gateway.Contexts == compile.ContextsTrusted:
		return call.Trust{}
	case c.Gateway.Contexts == compile.ContextsUntrusted || d.Contexts == nil:
		return call.Trust{Untrusted: true, Unknown: d.Contexts == nil}
	}
	return call.Trust{}
}

// doubt says why the context of a call that is not made counts as untrusted, as that of a caller without a session would now although
// nothing is known of it; empty if it does not, or the question says what it is.
func (d *Dispatcher) doubt(c *call.Caller, dry *call.Dry) string {
	if dry.Untrusted != nil || c.Gateway.Contexts != compile.ContextsTracked || d.Contexts == nil {
		return ""
	}
	return d.Contexts.Doubt()
}

// explainContext says so where a policy has to know.
func (d *Dispatcher) explainContext(c *call.Caller, t *target, dry *call.Dry) {
	if !c.Gateway.AsksContext(t.tool) && !c.Gateway.ResultsAskContext() {
		return
	}
	if why := d.doubt(c, dry); why != "" {
		dry.At(call.StepContext).Says = "A caller without a session counts as untrusted now: " + why + "."
	}
}

// dryInput is what policies see of a call that is not made.
func (d *Dispatcher) dryInput(c *call.Caller, k *call.Call, t *target, dry *call.Dry) *policy.Input {
	trust := d.assumed(c, dry)
	if d.doubt(c, dry) != "" {
		trust = call.Trust{Untrusted: true, Unknown: true}
	}
	in := d.asked(c, t, trust)
	in.Arguments, in.Headers = k.Message.P.Arguments.Of(k.Body), c.Passed
	if !dry.Time.IsZero() {
		in.Time = dry.Time
	}
	return &in
}

// judged is allowed for a call that is not made.
func judged(in *policy.Input, dry *call.Dry) (*compile.Policy, error) {
	w := &rules{}
	d := policy.Decide(in, w)
	for i := range w.list {
		w.list[i].Decided = d.Policy != nil && w.list[i].Policy == d.Policy
	}
	if in.Gateway.BlockUnmatched { // the last to be asked
		w.list = append(w.list, call.DryRule{
			Look:    compile.Look{Policy: &compile.Policy{Action: compile.ActionBlock}, Covers: true, Counts: d.Policy == nil, Matches: true},
			Decided: d.Policy == nil,
		})
	}
	dry.At(call.StepPolicies).Rules = w.list
	if d.Action == compile.ActionRequireApproval {
		return d.Policy, nil
	}
	return nil, blocked(d)
}

// wouldHold says what becomes of a call that a policy wants approved, nil for none: who would be asked. Nobody is about a call that could not
// run then.
func (d *Dispatcher) wouldHold(c *call.Caller, k *call.Call, t *target, p *compile.Policy, dry *call.Dry) {
	if p == nil {
		return
	}
	step := dry.At(call.StepApproval)
	if step.Err = d.holds(p); step.Err != nil {
		return
	}
	if err := d.unasked(c, k, t); err != nil {
		step.Err = d.withLink(c, k, t, err)
		return
	}
	switch {
	case !p.Approvers.Caller:
		step.Held = fmt.Sprintf("The policy %q holds the call until its approvers decide.", p.Name)
	case c.Principal.Kind != ident.KindUser:
		step.Err = nobodys(p)
	default:
		step.Held = fmt.Sprintf("The policy %q has the person who calls confirm it, in a client that offers elicitation with forms.", p.Name)
	}
}

// marks says what result policies do with what the tool answers.
func (d *Dispatcher) marks(c *call.Caller, k *call.Call, t *target, dry *call.Dry) {
	if t.tool == nil || len(c.Gateway.ResultPolicies) == 0 {
		return
	}
	in := d.dryInput(c, k, t, dry)
	if len(c.Gateway.Policies) == 0 && !c.Gateway.BlockUnmatched { // else it was said before those
		d.explainContext(c, t, dry)
	}
	step := dry.At(call.StepResults)
	failed := map[*compile.ResultPolicy]error{}
	decision := policy.DecideResult(in, policy.FromCall, nil, func(p *compile.ResultPolicy, err error) { failed[p] = err })
	for _, p := range c.Gateway.ResultPolicies {
		step.Results = append(step.Results, call.DryResult{
			Policy: p, Covers: p.Covers(t.tool.Server, t.tool.Upstream), Err: failed[p],
			Matches: p == decision.Policy || slices.Contains(decision.Redact, p) || slices.Contains(decision.Would, p),
			Decided: p == decision.Policy || slices.Contains(decision.Redact, p),
		})
	}
}

// rules keeps what came of each policy. It implements compile.Tracer.
type rules struct{ list []call.DryRule }

// Would implements compile.Watcher.
func (*rules) Would(*compile.Policy) {}

// Failed implements compile.Watcher.
func (*rules) Failed(*compile.Policy, error) {}

// Looked implements compile.Tracer.
func (r *rules) Looked(l compile.Look) { r.list = append(r.list, call.DryRule{Look: l}) }

// looked is counted for a call that is not made.
func (d *Dispatcher) looked(ctx context.Context, c *call.Caller, t *target, dry *call.Dry) (refused error) {
	step := dry.At(call.StepLimits)
	step.Limits = d.RateLimits.Look(ctx, c.Snapshot, c.Gateway, c.Principal, t.tool)
	for i := range step.Limits {
		l := &step.Limits[i]
		if refused == nil {
			refused = l.Err
		}
		if !l.Known {
			step.Unknown = "How much of a limit is left is known to the store that the nodes share."
		}
	}
	return refused
}

// bound is outbound for a call that is not made: it finds what the call would run with, and fetches no credential.
func (d *Dispatcher) bound(c *call.Caller, k *call.Call, t *target, dry *call.Dry) error {
	step := dry.At(call.StepCredential)
	with := &call.DryCredential{Server: t.server, Pinned: !t.atCall, State: call.CredentialMissing}
	step.Credential = with
	server := c.Snapshot.Server(t.server)
	with.AsCaller = server != nil && server.CallerOnly
	o, err := start(c, t)
	if err != nil {
		with.Connection = c.Snapshot.Connection(t.connection)
		return d.withLink(c, k, t, err)
	}
	with.Connection = o.Connection
	switch {
	case !o.Server.NeedsSecret:
		with.State = call.CredentialNone
	case d.Credentials.Holds(o):
		with.State = call.CredentialHeld
	default:
		with.State = call.CredentialUnresolved
		step.Unknown = "The node would ask the authserver for the credential at the call."
	}
	return nil
}

// withLink returns why a call cannot run, and says so where the call would get a link that mends it.
func (d *Dispatcher) withLink(c *call.Caller, k *call.Call, t *target, err error) error {
	f := fault.From(err)
	if server := c.Snapshot.Server(t.server); server != nil && d.mendable(c, k, t, server, f) {
		return fault.New(f.Kind, f.Reason, f.Public+" The call gets a link to connect it.").Because(f)
	}
	return err
}
