// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// What policies say of a call, the values of the metric attribute "outcome".
const (
	decisionAllow      = "allow"
	decisionBlock      = "block"
	decisionWouldBlock = "would_block"
	decisionWouldAllow = "would_allow"
	decisionError      = "error"    // the condition could not be evaluated
	decisionHeld       = "held"     // a person was asked, or is waited for
	decisionApproved   = "approved" // the call that was held runs
	decisionDenied     = "denied"   // it never does
)

func newDecided(m metric.Meter) (metric.Int64Counter, error) {
	return m.Int64Counter(obs.MetricPolicyDecisions, metric.WithUnit("{decision}"), //nolint:wrapcheck // of New
		metric.WithDescription("What policies said of tool calls, by policy and outcome; the policy is empty for the default of a gateway."))
}

// decide asks the policies of the gateway what is to happen to a call.
func (d *Dispatcher) decide(ctx context.Context, c *call.Caller, k *call.Call, t *target, w compile.Watcher) compile.Decision {
	in := d.asked(c, t, d.trust(ctx, c, k, c.Gateway.AsksContext(t.tool)))
	in.Arguments, in.Headers = k.Message.P.Arguments.Of(k.Body), c.Passed
	return policy.Decide(&in, w)
}

// asked is what policies see of a call whose arguments and headers are not known.
func (d *Dispatcher) asked(c *call.Caller, t *target, trust call.Trust) policy.Input {
	return policy.Input{
		Snapshot: c.Snapshot, Gateway: c.Gateway, Tool: t.tool, Caller: c.Principal,
		Untrusted: trust.Untrusted, Sources: trust.Sources, SourcesUnknown: trust.Unknown, Time: time.Now(), Region: d.Region,
	}
}

// allowed asks the policies of the gateway whether a tool may be called. They may want an approval: then it returns the policy that does.
// The fault is Denied, POLICY_BLOCKED, with the name and the reason of the policy, and without a hint of what it matched (G-35).
func (d *Dispatcher) allowed(ctx context.Context, c *call.Caller, k *call.Call, t *target, dry *call.Dry) (*compile.Policy, error) {
	if t.tool == nil || len(c.Gateway.Policies) == 0 && !c.Gateway.BlockUnmatched {
		return nil, nil //nolint:nilnil // nothing was asked, nothing is wrong
	}
	if dry != nil {
		d.explainContext(c, t, dry)
		return judged(d.dryInput(c, k, t, dry), dry)
	}
	w := &t.told
	*w = decisions{ctx, d, c}
	decision := d.decide(ctx, c, k, t, w)
	name := ""
	t.action = decision.Action.String()
	if decision.Policy != nil { // its own word tells the audit why: BLOCK_IF_UNTRUSTED has become BLOCK
		name, t.action = decision.Policy.Name, decision.Policy.Action.String()
	}
	t.policy = name
	switch decision.Action {
	case compile.ActionAllow:
		if decision.Policy != nil {
			w.count(name, decisionAllow)
		}
		return nil, nil //nolint:nilnil // likewise
	case compile.ActionRequireApproval:
		return decision.Policy, nil
	default:
		w.count(name, decisionBlock)
		return nil, blocked(decision)
	}
}

// foreseen returns the fault of a call that policies refuse whatever its arguments are, nil where they may let it through. Nothing is
// counted: nobody calls.
func (d *Dispatcher) foreseen(c *call.Caller, t *view.Tool) error {
	if len(c.Gateway.Policies) == 0 && !c.Gateway.BlockUnmatched {
		return nil
	}
	in := d.asked(c, &target{tool: t}, d.assumed(c, new(call.Dry)))
	if decision, refused := policy.Foreseen(&in); refused {
		return blocked(decision)
	}
	return nil
}

// blocked is the refusal that a decision comes to, nil if it lets the call run.
func blocked(d compile.Decision) error {
	switch {
	case d.Action == compile.ActionAllow:
		return nil
	case d.Policy == nil:
		return fault.New(fault.Denied, ReasonPolicyBlocked, "This gateway refuses calls that no policy allows.")
	case d.Policy.Reason == "":
		return fault.Newf(fault.Denied, ReasonPolicyBlocked, "The policy %q refuses this call.", d.Policy.Name)
	}
	return fault.Newf(fault.Denied, ReasonPolicyBlocked, "The policy %q refuses this call: %s", d.Policy.Name, d.Policy.Reason)
}

// decisions counts what happens beside a decision.
type decisions struct {
	ctx    context.Context //nolint:containedctx // of one call, and for no longer
	d      *Dispatcher
	caller *call.Caller
}

func (w decisions) count(policy, outcome string) {
	w.d.decided.Add(w.ctx, 1, metric.WithAttributes(attribute.String("policy", policy), attribute.String("outcome", outcome)))
}

// Would implements compile.Watcher.
func (w decisions) Would(p *compile.Policy) {
	if p.Action == compile.ActionAllow {
		w.count(p.Name, decisionWouldAllow)
	} else {
		w.count(p.Name, decisionWouldBlock)
	}
}

// Failed implements compile.Watcher. It is logged once for each gateway and policy; how often it happens is counted.
func (w decisions) Failed(p *compile.Policy, err error) {
	w.count(p.Name, decisionError)
	if w.d.failed.first(w.caller.Gateway.UID, p.UID) {
		w.d.Log.WarnContext(w.ctx, "policy cannot be evaluated", slog.String(obs.AttrGateway, w.caller.Gateway.Name),
			slog.String("policy", p.Name), slog.Any(obs.AttrError, err))
	}
}
