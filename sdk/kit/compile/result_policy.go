// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/compile/pattern"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Mark is what a result counts as. But for MarkRedact, which is beside the others, the greater is the stricter.
type Mark uint8

// The marks of G-33.
const (
	MarkTrusted Mark = iota
	MarkRedact
	MarkUntrusted
	MarkBlock
)

// String returns the word of manifests, for example "BLOCK".
func (m Mark) String() string {
	return [...]string{"TRUSTED", "REDACT", "UNTRUSTED", "BLOCK"}[m]
}

// ResultPolicy is a compiled rule on the results of tools.
type ResultPolicy struct {
	Name, UID string
	Mark      Mark
	Reason    string // for the caller; may be empty
	Shadow    bool   // it is counted, and decides nothing
	Patterns  []*regexp.Regexp

	rule   Policy // what it covers, and when
	digest string // of Print
}

// MakeResultPolicy reads a result policy. A condition that does not compile is Invalid with reason POLICY_CONDITION_INVALID, a pattern
// that does not is Invalid with reason RESULT_PATTERN_INVALID, both with the place; a mark or a mode this node does not know is Invalid
// with reason UNKNOWN_RESULT_POLICY: it was made for newer nodes.
func MakeResultPolicy(r *resourcev1.ResultPolicy) (*ResultPolicy, error) {
	p := newResultPolicy(r)
	unknown := fault.New(fault.Invalid, "UNKNOWN_RESULT_POLICY", "the result policy's mark or mode is not known to this node; update the node")
	switch r.GetMark() {
	case resourcev1.ResultMark_RESULT_MARK_TRUSTED:
		p.Mark = MarkTrusted
	case resourcev1.ResultMark_RESULT_MARK_UNTRUSTED:
		p.Mark = MarkUntrusted
	case resourcev1.ResultMark_RESULT_MARK_REDACT:
		p.Mark = MarkRedact
	case resourcev1.ResultMark_RESULT_MARK_BLOCK:
		p.Mark = MarkBlock
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
	var err error
	if r.GetWhen() != "" {
		if p.rule.when, err = condition.Compile(r.GetWhen()); err != nil {
			return nil, err
		}
	}
	if p.Mark != MarkRedact {
		return p, nil
	}
	if len(r.GetRedact()) == 0 { // admission lets none through: it was made for nodes that take out something else
		return nil, unknown
	}
	for _, text := range r.GetRedact() {
		re, err := pattern.Compile(text)
		if err != nil {
			return nil, err
		}
		p.Patterns = append(p.Patterns, re)
	}
	return p, nil
}

func newResultPolicy(r *resourcev1.ResultPolicy) *ResultPolicy {
	h := sha256.New()
	for _, list := range [][]string{{r.GetUid(), r.GetWhen()}, r.GetTools(), r.GetServers()} {
		_, _ = fmt.Fprintf(h, "%d%q", len(list), list) // a hash takes all
	}
	return &ResultPolicy{
		digest: string(h.Sum(nil)[:PrintSize]), Name: r.GetName(), UID: r.GetUid(), Reason: r.GetReason(),
		rule: Policy{
			Disabled: r.GetDisabled(), tools: r.GetTools(), servers: r.GetServers(), gateways: r.GetGateways(), labels: r.GetGatewayLabels(),
		},
	}
}

// ClosedResult is the form of a result policy that [MakeResultPolicy] refuses and that no earlier form stands in for: it blocks whatever
// it covers. It is nil for one that trusts, without which nothing is trusted less, and for a shadow, which decides nothing.
func ClosedResult(r *resourcev1.ResultPolicy) *ResultPolicy {
	if r.GetMark() == resourcev1.ResultMark_RESULT_MARK_TRUSTED || r.GetMode() == resourcev1.PolicyMode_POLICY_MODE_SHADOW {
		return nil
	}
	p := newResultPolicy(r)
	p.Mark, p.Reason = MarkBlock, "The policy cannot be evaluated here; ask an administrator to update the node."
	return p
}

// AsksContext is that of [Policy].
func (p *ResultPolicy) AsksContext(mode Contexts) bool { return p.rule.AsksContext(mode) }

// On reports whether the policy concerns results at a gateway.
func (p *ResultPolicy) On(g *Gateway) bool { return p.rule.On(g) }

// Covers reports whether the policy concerns results of a tool, by its server and the name that the server knows.
func (p *ResultPolicy) Covers(server, upstream string) bool { return p.rule.Covers(server, upstream) }

// CoversServer reports whether the policy concerns all that a server answers, whatever its tools are called.
func (p *ResultPolicy) CoversServer(server string) bool {
	return p.rule.tools == nil && p.rule.Covers(server, "")
}

// PrintSize is the length of a [ResultPolicy.Print] in bytes.
const PrintSize = 8

// Print tells a policy from all others and from its own earlier forms, as far as they differ in what they match: PrintSize bytes.
func (p *ResultPolicy) Print() string { return p.digest }

// Unsure reports whether it depends on the call whether the policy blocks what a server answers: on its tool or its arguments.
func (p *ResultPolicy) Unsure(server string) bool {
	return p.Mark == MarkBlock && !p.Shadow && (!p.CoversServer(server) || p.readsCall())
}

// readsCall reports whether the condition reads what only the call knows.
func (p *ResultPolicy) readsCall() bool {
	return p.rule.Names(condition.NameArguments) || p.rule.Names(condition.NameTool) || p.rule.Names(condition.NameAnnotations)
}

// Names reports whether the condition reads something, for example "caller.claims".
func (p *ResultPolicy) Names(name string) bool { return p.rule.when != nil && p.rule.when.Names(name) }

// matches reports whether the policy matches. Where the condition cannot be evaluated, it matches unless it trusts (G-31). open says
// that the answer depends on what is not known of a call, see [condition.Facts.Partial].
func (p *ResultPolicy) matches(f *condition.Facts) (ok, open bool, err error) {
	if p.rule.when == nil {
		return true, false, nil
	}
	if ok, err = p.rule.when.Holds(f); err == nil {
		return ok, false, nil
	}
	if f.Partial && p.readsCall() {
		return p.Mark != MarkTrusted, true, nil
	}
	return p.Mark != MarkTrusted, false, err
}

// CompareResultPolicies orders result policies for [DecideResult]: those that decide before shadows, the stricter before the others,
// then by name.
func CompareResultPolicies(a, b *ResultPolicy) int {
	if a.Shadow != b.Shadow {
		if a.Shadow {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(b.Mark, a.Mark), strings.Compare(a.Name, b.Name))
}

// ResultDecision is what result policies say of the results of a call.
type ResultDecision struct {
	Mark   Mark            // MarkTrusted, MarkUntrusted or MarkBlock
	Policy *ResultPolicy   // whose mark it is; nil for the default
	Redact []*ResultPolicy // whose patterns are taken out; empty where the result is blocked
	Would  []*ResultPolicy // shadows that match
}

// Idle reports whether nothing is to be done with the results.
func (d *ResultDecision) Idle() bool {
	return d.Policy == nil && len(d.Redact) == 0 && len(d.Would) == 0
}

// ResultScope is what is asked about: results of one tool, or what may stem from several.
type ResultScope struct {
	// Covers says whether a policy concerns it.
	Covers func(p *ResultPolicy) bool
	// BlockOpen says whether a policy blocks also where its condition depends on what is not known. It is false for what a call has
	// handed out whose own result the policy has judged with everything known.
	BlockOpen func(p *ResultPolicy) bool
}

// DecideResult decides what happens to the results of a call, from what is known before it is made. The policies are sorted by
// [CompareResultPolicies]. failed is told of each whose condition could not be evaluated, and why.
func DecideResult(list []*ResultPolicy, f *condition.Facts, scope ResultScope, failed func(p *ResultPolicy, err error)) (d ResultDecision) {
	for _, p := range list {
		// Marks that a stricter one outdoes are not looked at; patterns of a result that is not delivered neither.
		if !p.Shadow && d.Policy != nil && (p.Mark != MarkRedact || d.Mark == MarkBlock) || !scope.Covers(p) {
			continue
		}
		ok, open, err := p.matches(f)
		if err != nil {
			failed(p, err)
		}
		switch {
		case !ok, open && p.Mark == MarkBlock && !scope.BlockOpen(p):
		case p.Shadow:
			d.Would = append(d.Would, p)
		case p.Mark == MarkRedact:
			d.Redact = append(d.Redact, p)
		default:
			d.Policy, d.Mark = p, p.Mark
		}
	}
	return d
}
