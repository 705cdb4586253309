// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/redact"
	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// What result policies say, further values of the metric attribute "outcome".
const (
	decisionTrusted     = "trusted"
	decisionUntrusted   = "untrusted"
	decisionRedact      = "redact"
	decisionWouldMark   = "would_mark"
	decisionWouldRedact = "would_redact"
	// decisionMarked is counted without a policy: a result that is untrusted is about to be delivered.
	decisionMarked = "marked_untrusted"
)

// screen stands between a server and a client: nothing that a server says of a call, or on its own, reaches the client but through it
// (G-33). A nil screen, of gateways without result policies, lets everything through as it is. It is safe for concurrent use.
type screen struct {
	ctx    context.Context //nolint:containedctx // of one call, and for no longer
	d      *Dispatcher
	caller *call.Caller
	call   *call.Call
	server string

	decision compile.ResultDecision
	patterns []*regexp.Regexp

	mu     sync.Mutex
	opened bool
	err    error // of untrustedResult
}

// screen decides about the results of a request before it is made; nil if no result policy has anything to do with it.
func (d *Dispatcher) screen(ctx context.Context, c *call.Caller, k *call.Call, t *target) *screen {
	if len(c.Gateway.ResultPolicies) == 0 {
		return nil
	}
	in := d.resultInput(ctx, c, k, t.server)
	switch {
	case t.tool != nil:
		in.Tool, in.Arguments = t.tool, k.Message.P.Arguments.Of(k.Body)
		return d.screenFor(ctx, k, c, in, policy.FromCall, nil)
	case t.what == "task":
		in.Judged = t.judged
		return d.screenFor(ctx, k, c, in, policy.FromTask, taskTools(c, t.server))
	case k.Method == methodRead, t.what == whatMethod:
		return d.screenFor(ctx, k, c, in, policy.FromResource, toolsOf(c, t.server))
	}
	return nil
}

// aside is screen for what a server tells or asks outside of calls.
func (d *Dispatcher) aside(ctx context.Context, c *call.Caller, server string) *screen {
	if len(c.Gateway.ResultPolicies) == 0 {
		return nil
	}
	k := &call.Call{Message: new(wire.Message)}
	return d.screenFor(ctx, k, c, d.resultInput(ctx, c, k, server), policy.FromServer, toolsOf(c, server))
}

func (d *Dispatcher) resultInput(ctx context.Context, c *call.Caller, k *call.Call, server string) *policy.Input {
	trust := d.trust(ctx, c, k, c.Gateway.ResultsAskContext())
	return &policy.Input{
		Snapshot: c.Snapshot, Gateway: c.Gateway, Server: server, Caller: c.Principal,
		Untrusted: trust.Untrusted, Sources: trust.Sources, SourcesUnknown: trust.Unknown, Headers: c.Passed, Time: time.Now(),
	}
}

func (d *Dispatcher) screenFor(
	ctx context.Context, k *call.Call, c *call.Caller, in *policy.Input, from policy.Source, tools []*view.Tool,
) *screen {
	s := &screen{ctx: ctx, d: d, caller: c, call: k, server: in.Server}
	s.decision = policy.DecideResult(in, from, tools, s.failed)
	if s.decision.Idle() {
		return nil
	}
	for _, p := range s.decision.Redact {
		s.patterns = append(s.patterns, p.Patterns...)
	}
	return s
}

// toolsOf returns what the gateway has of a server.
func toolsOf(c *call.Caller, server string) (found []*view.Tool) {
	for _, t := range c.Gateway.Tools {
		if t.Server == server {
			found = append(found, t)
		}
	}
	return found
}

// taskTools returns the tools of a server that may run as tasks: all, unless their definitions tell them apart (2025-11-25).
func taskTools(c *call.Caller, server string) []*view.Tool {
	all := toolsOf(c, server)
	if s := c.Snapshot.Server(server); s == nil || !s.Capabilities.Tasks || wire.Version(s.Protocol).Era() == wire.Modern {
		return all
	}
	found := slices.DeleteFunc(slices.Clone(all), func(t *view.Tool) bool {
		support := wire.Get(t.Body.Bytes(), "execution", "taskSupport")
		return !wire.EqualString(support, "optional") && !wire.EqualString(support, "required")
	})
	if len(found) == 0 {
		return all
	}
	return found
}

// failed logs a condition that cannot be evaluated, once for each gateway and policy; how often it happens is counted.
func (s *screen) failed(p *compile.ResultPolicy, err error) {
	s.count(p.Name, decisionError)
	if s.d.failed.first(s.caller.Gateway.UID, p.UID) {
		s.d.Log.WarnContext(s.ctx, "result policy cannot be evaluated", slog.String(obs.AttrGateway, s.caller.Gateway.Name),
			slog.String("policy", p.Name), slog.Any(obs.AttrError, err))
	}
}

func (s *screen) count(policy, outcome string) {
	s.d.decided.Add(s.ctx, 1, metric.WithAttributes(
		attribute.String("policy", policy), attribute.String("outcome", outcome), attribute.String("kind", "result_policy")))
}

// open is called before the client gets anything of a result, and counts what was decided, once. The fault says that it must not.
func (s *screen) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened {
		return s.err
	}
	s.opened = true
	for _, p := range s.decision.Would {
		switch p.Mark {
		case compile.MarkBlock:
			s.count(p.Name, decisionWouldBlock)
		case compile.MarkRedact:
			s.count(p.Name, decisionWouldRedact)
		default:
			s.count(p.Name, decisionWouldMark)
		}
	}
	for _, p := range s.decision.Redact {
		s.count(p.Name, decisionRedact)
	}
	p := s.decision.Policy
	if p == nil {
		return nil
	}
	switch s.decision.Mark {
	case compile.MarkBlock:
		s.count(p.Name, decisionBlock)
		s.err = resultBlocked(p)
	case compile.MarkUntrusted:
		s.count(p.Name, decisionUntrusted)
		s.err = s.d.untrustedResult(s.ctx, s.caller, s.call, s.server)
	default:
		s.count(p.Name, decisionTrusted)
	}
	return s.err
}

// resultBlocked is what the caller reads in place of a result, with nothing of it (G-35).
func resultBlocked(p *compile.ResultPolicy) error {
	if p.Reason == "" {
		return fault.Newf(fault.Denied, ReasonResultBlocked, "The policy %q withholds this result.", p.Name)
	}
	return fault.Newf(fault.Denied, ReasonResultBlocked, "The policy %q withholds this result: %s", p.Name, p.Reason)
}

func (s *screen) redactor() *redact.Redactor { return redact.New(s.patterns, time.Now) }

// message returns a notification as the client gets it, nil if it does not.
func (s *screen) message(raw []byte) ([]byte, error) {
	if s == nil || raw == nil {
		return raw, nil
	}
	if err := s.open(); err != nil {
		if s.decision.Mark == compile.MarkBlock {
			return nil, nil // the result tells of it
		}
		return nil, err
	}
	if s.patterns == nil {
		return raw, nil
	}
	out, err := s.redactor().Notification(raw)
	if err != nil {
		return nil, nil //nolint:nilerr // what cannot be read, no client can either
	}
	return out, nil
}

// sink takes the notifications of a call.
func (s *screen) sink(next func([]byte) error) func([]byte) error {
	if s == nil {
		return next
	}
	return func(message []byte) error {
		out, err := s.message(message)
		if err != nil || out == nil {
			return err
		}
		return next(out)
	}
}

// asker returns a client whose questions pass the screen.
func (s *screen) asker(a call.Asker) call.Asker {
	if s == nil || a == nil {
		return a
	}
	return screenedAsker{a, s}
}

type screenedAsker struct {
	call.Asker
	s *screen
}

// Ask implements call.Asker.
func (a screenedAsker) Ask(ctx context.Context, q call.Question) (call.Answer, error) {
	if err := a.s.open(); err != nil {
		return call.Answer{}, err
	}
	if a.s.patterns != nil {
		out, err := a.s.redactor().Question(q.Params)
		if err != nil {
			return call.Answer{}, unreadable(err)
		}
		q.Params = out
	}
	return a.Asker.Ask(ctx, q) //nolint:wrapcheck // the asker's own
}

// reply returns an answer of the server as the client gets it. The fault says that it does not.
func (s *screen) reply(t *target, method string, r call.Reply) (call.Reply, error) {
	if s == nil {
		return r, nil
	}
	if err := s.open(); err != nil {
		return s.refuse(t, method, err)
	}
	if s.patterns == nil {
		return r, nil
	}
	var err error
	if r.Error != nil {
		r.Error, err = s.redactor().Error(r.Error)
	} else {
		r.Result, err = s.redactor().Result(r.Result, t.what == "task")
	}
	if err != nil {
		return call.Reply{}, unreadable(err)
	}
	return r, nil
}

// withheld is what stands in for an answer that is no result of tools/call: the result of a task is one for the model, all else is an
// error.
func withheld(v wire.Version, t *target, method string, f *fault.Fault) call.Reply {
	if method == methodTaskResult {
		b := toolError(v, t, f, "")
		b = append(b[:len(b)-1], `,"_meta":{"`+wire.ReservedPrefix+`related-task":{"taskId":`...)
		return call.Reply{Result: append(wire.AppendString(b, t.exposed), `}}}`...), IsError: true}
	}
	return call.Reply{Error: wire.AppendErrorObject(nil, codeWithheld, f.Public, []byte(`{"reason":"`+ReasonResultBlocked+`"}`))}
}

// codeWithheld is the code of what a policy withholds, that of everything that is denied.
const codeWithheld = 40301

// instead returns what the client gets of a call that came to a fault: some repeat what the server said.
func (s *screen) instead(t *target, method string, err error) (call.Reply, error) {
	f := fault.From(err)
	if s == nil || f.Kind != fault.NotFound && f.Kind != fault.Precondition && f.Kind != fault.MissingCapability {
		return call.Reply{}, err
	}
	if err := s.open(); err != nil {
		return s.refuse(t, method, err)
	}
	if s.patterns == nil {
		return call.Reply{}, err
	}
	out, r := *f, s.redactor()
	out.Public, out.Fields = r.Text(f.Public), slices.Clone(f.Fields)
	for i := range out.Fields {
		out.Fields[i].Problem = r.Text(out.Fields[i].Problem)
	}
	return call.Reply{}, &out
}

// refuse is what the client gets where open has said no.
func (s *screen) refuse(t *target, method string, err error) (call.Reply, error) {
	f := fault.From(err)
	if f.Reason == ReasonResultBlocked {
		t.policy, t.action = s.decision.Policy.Name, s.decision.Mark.String() // for the audit: it outdid what let the call run
	}
	if f.Reason == ReasonResultBlocked && t.tool == nil {
		return withheld(s.caller.Version, t, method, f), nil
	}
	return call.Reply{}, err
}
