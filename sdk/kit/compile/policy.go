// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Action is what happens to a call; the greater is the stricter.
type Action uint8

// The actions of G-30.
const (
	ActionAllow Action = iota
	ActionBlockIfUntrusted
	ActionRequireApproval
	ActionBlock
)

// String returns the word of manifests, for example "BLOCK".
func (a Action) String() string {
	return [...]string{"ALLOW", "BLOCK_IF_UNTRUSTED", "REQUIRE_APPROVAL", "BLOCK"}[a]
}

// Policy is a compiled rule on tool calls.
type Policy struct {
	Name, UID string
	Action    Action
	Reason    string // for the caller; may be empty
	Shadow    bool   // it is counted, and decides nothing
	Disabled  bool
	Approvers Approvers // of ActionRequireApproval

	tools, servers, gateways []string // patterns, names, patterns; nil means all
	labels                   map[string]string
	when                     *condition.Condition // nil: always
}

// Approvers are who approves the calls that a policy holds (G-34): the person who calls or, with every field zero, others, whom the
// control plane knows.
type Approvers struct {
	Caller bool
}

// makeApprovers reads who approves. ok is false for approvers that this node does not know, and for none.
func makeApprovers(r *resourcev1.Approvers) (a Approvers, ok bool) {
	a.Caller = r.GetCaller() != nil
	return a, a.Caller || r.GetTeamAdmins() != nil || len(r.GetUsers()) > 0
}

// MakePolicy reads a policy. A condition that does not compile is Invalid with reason POLICY_CONDITION_INVALID, line and column; an
// action, a mode or approvers that this node does not know are Invalid with reason UNKNOWN_POLICY: it was made for newer nodes.
func MakePolicy(r *resourcev1.Policy) (*Policy, error) {
	p := &Policy{
		Name: r.GetName(), UID: r.GetUid(), Reason: r.GetReason(), Disabled: r.GetDisabled(),
		tools: r.GetTools(), servers: r.GetServers(), gateways: r.GetGateways(), labels: r.GetGatewayLabels(),
	}
	unknown := fault.New(fault.Invalid, "UNKNOWN_POLICY", "the policy's action, mode or approvers are not known to this node; update the node")
	switch r.GetAction() {
	case resourcev1.PolicyAction_POLICY_ACTION_ALLOW:
		p.Action = ActionAllow
	case resourcev1.PolicyAction_POLICY_ACTION_BLOCK:
		p.Action = ActionBlock
	case resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED:
		p.Action = ActionBlockIfUntrusted
	case resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL:
		var known bool
		p.Action = ActionRequireApproval
		if p.Approvers, known = makeApprovers(r.GetApprovers()); !known {
			return nil, unknown
		}
	default:
		return nil, unknown
	}
	switch r.GetMode() {
	case resourcev1.PolicyMode_POLICY_MODE_UNSPECIFIED, resourcev1.PolicyMode_POLICY_MODE_ENFORCE:
	case resourcev1.PolicyMode_POLICY_MODE_SHADOW:
		p.Shadow = true
	default:
		return nil, unknown
	}
	if r.GetWhen() == "" {
		return p, nil
	}
	var err error
	p.when, err = condition.Compile(r.GetWhen())
	return p, err
}

// On reports whether the policy concerns calls at a gateway.
func (p *Policy) On(g *Gateway) bool {
	if p.Disabled || p.gateways != nil && !slices.ContainsFunc(p.gateways, func(pattern string) bool {
		return glob(pattern, len(g.Name), func(i int) byte { return g.Name[i] })
	}) {
		return false
	}
	for k, v := range p.labels {
		if has, ok := g.Labels[k]; !ok || has != v {
			return false
		}
	}
	return true
}

// Covers reports whether the policy concerns calls of a tool, by its server and the name that the server knows.
func (p *Policy) Covers(server, upstream string) bool {
	if p.servers != nil && !slices.Contains(p.servers, server) {
		return false
	}
	return p.tools == nil || slices.ContainsFunc(p.tools, func(pattern string) bool { return matches(pattern, server, upstream) })
}

// Names reports whether the condition reads something, for example "args".
func (p *Policy) Names(name string) bool { return p.when != nil && p.when.Names(name) }

// AsksContext reports whether the policy has to know more of the context of a call than the mode says: whether it is untrusted, or
// which servers made it so.
func (p *Policy) AsksContext(mode Contexts) bool {
	switch mode {
	case ContextsTracked:
		return p.Action == ActionBlockIfUntrusted || p.Names("context.untrusted") || p.Names("context.sources")
	case ContextsUntrusted:
		return p.Names("context.sources")
	default:
		return false
	}
}

// Matches reports whether the policy matches a call that it covers. A condition that fails matches for every action but ALLOW (G-31);
// err says why it failed.
func (p *Policy) Matches(f *condition.Facts) (ok bool, err error) {
	if p.Action == ActionBlockIfUntrusted && !f.Untrusted {
		return false, nil
	}
	if p.when == nil {
		return true, nil
	}
	if ok, err = p.when.Holds(f); err != nil {
		ok = p.Action != ActionAllow
	}
	return ok, err
}

// ComparePolicies orders policies for [Decide]: those that decide before shadows, the stricter before the others, then by name.
func ComparePolicies(a, b *Policy) int {
	if a.Shadow != b.Shadow {
		if a.Shadow {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(b.Action, a.Action), strings.Compare(a.Name, b.Name))
}

// Decision is what policies say of a call.
type Decision struct {
	Action Action  // ActionAllow or what is to happen instead; never ActionBlockIfUntrusted: that has become ActionBlock
	Policy *Policy // that decided; nil for the default of the gateway
}

// Watcher is told what happens beside a decision.
type Watcher interface {
	// Would is told of each shadow that matches: it would have decided, or been one of those that could.
	Would(p *Policy)
	// Failed is told of each policy whose condition could not be evaluated, and why.
	Failed(p *Policy, err error)
}

// Look is what came of one policy.
type Look struct {
	Policy  *Policy
	Covers  bool  // it concerns calls of the tool
	Counts  bool  // a call looks at it: it is a shadow, or none before it decides
	Matches bool  // also if it does not count
	Err     error // why its condition could not be evaluated
}

// Tracer is a Watcher that is told of every policy, also of those that do not cover the tool and of those behind the one that decides.
type Tracer interface {
	Watcher
	// Looked is told of each policy, in their order.
	Looked(l Look)
}

// Decide decides a call of a tool. The policies are sorted by [ComparePolicies]; those that do not cover the tool are passed over.
// Shadows are looked at all, of the others none behind the one that decides.
func Decide(list []*Policy, f *condition.Facts, blockUnmatched bool, w Watcher) (d Decision) {
	if blockUnmatched {
		d.Action = ActionBlock
	}
	t, traced := w.(Tracer)
	for _, p := range list {
		if !p.Shadow && d.Policy != nil || !p.Covers(f.Server, f.Tool) {
			if traced {
				t.Looked(p.past(f))
			}
			continue
		}
		ok, err := p.Matches(f)
		if err != nil {
			w.Failed(p, err)
		}
		if traced {
			t.Looked(Look{Policy: p, Covers: true, Counts: true, Matches: ok, Err: err})
		}
		switch {
		case !ok:
		case p.Shadow:
			w.Would(p)
		default:
			if d.Policy, d.Action = p, p.Action; d.Action == ActionBlockIfUntrusted {
				d.Action = ActionBlock
			}
		}
	}
	return d
}

// past is the look at a policy that decides nothing.
func (p *Policy) past(f *condition.Facts) Look {
	l := Look{Policy: p, Covers: p.Covers(f.Server, f.Tool)}
	if l.Covers {
		l.Matches, l.Err = p.Matches(f)
	}
	return l
}

// Closed is the form of a policy that [MakePolicy] refuses and that no earlier form stands in for: it blocks whatever it covers. It is
// nil for one that allows: without it, less is allowed.
func Closed(r *resourcev1.Policy) *Policy {
	if r.GetAction() == resourcev1.PolicyAction_POLICY_ACTION_ALLOW {
		return nil
	}
	return &Policy{
		Name: r.GetName(), UID: r.GetUid(), Action: ActionBlock, Disabled: r.GetDisabled(),
		Reason: "The policy cannot be evaluated here; ask an administrator to update the node.",
		tools:  r.GetTools(), servers: r.GetServers(), gateways: r.GetGateways(), labels: r.GetGatewayLabels(),
	}
}

// addDefaults reads what holds for calls that no policy matches, and for their contexts. What this node does not know is Invalid.
func (g *Gateway) addDefaults(r *resourcev1.Gateway) error {
	switch r.GetDefaultAction() {
	case resourcev1.DefaultAction_DEFAULT_ACTION_UNSPECIFIED, resourcev1.DefaultAction_DEFAULT_ACTION_ALLOW:
	case resourcev1.DefaultAction_DEFAULT_ACTION_BLOCK:
		g.BlockUnmatched = true
	default:
		return fault.New(fault.Invalid, "UNKNOWN_DEFAULT_ACTION", "the gateway's default action is not known to this node; update the node")
	}
	switch r.GetUntrustedContext() {
	case resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_UNSPECIFIED, resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_TRACK:
		g.Contexts = ContextsTracked
	case resourcev1.UntrustedContext_UNTRUSTED_CONTEXT_NEVER:
		g.Contexts = ContextsTrusted
	default: // what is made for newer nodes, too
		g.Contexts = ContextsUntrusted
	}
	g.Labels = maps.Clone(r.GetLabels())
	return nil
}

func makeRole(r resourcev1.Role) string {
	switch r {
	case resourcev1.Role_ROLE_EDITOR:
		return "EDITOR"
	case resourcev1.Role_ROLE_ADMIN:
		return "ADMIN"
	default:
		return "MEMBER"
	}
}
