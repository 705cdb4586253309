// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Audit keeps what happens to tool calls (audit room). Neither method waits for a disk or a network.
type Audit interface {
	// Admit says whether a call may run: Unavailable if what becomes of it could not be recorded.
	Admit() error
	// Record takes the event of a call that has ended. It may drop it, and counts that.
	Record(e call.AuditEvent)
}

// noted is what the audit wants of a target, written where it is found out.
type noted struct {
	policy, action    string // see allowed
	resolving, waited time.Duration
	sent              bool   // the server was asked
	pending           string // the outcome of a result that is not the last word
}

// trail is what the audit keeps of one call.
type trail struct {
	caller  *call.Caller
	asked   *call.Call // as the client sent it
	run     *call.Call // as it ran: of a run_tool, the call that it stands for; nil if it came to none
	target  target
	fault   *fault.Fault // before it was made an answer; nil if there was none
	started time.Time

	out  call.Outbound // memory of the request that leaves
	scan wire.Message  // memory of the scan of its result
	room [512]byte     // memory of its params, if they are no longer
}

// recordable refuses a call of a tool that could not be recorded.
func (d *Dispatcher) recordable(t *target) error {
	if d.Audit == nil || t.tool == nil {
		return nil
	}
	return d.Audit.Admit()
}

// Refused records a tools/call that did not come to Call, for the reason that err gives. edge calls it.
func (d *Dispatcher) Refused(ctx context.Context, c call.Caller, k call.Call, err error) {
	if d.Audit == nil || k.Method != methodCallTool {
		return
	}
	tr := trail{caller: &c, asked: &k, started: time.Now()}
	tr.target.sent = fault.From(err).Reason == reasonPeerLost
	d.record(ctx, &tr, &call.Reply{}, err)
}

// record makes the event of a call: the same for a run_tool as for the call that it stands for, but for the door (G-24).
func (d *Dispatcher) record(ctx context.Context, tr *trail, reply *call.Reply, err error) {
	c, t := tr.caller, &tr.target
	e := call.AuditEvent{
		Time: c.Started, Principal: c.Principal, Gateway: c.Gateway.Name, GatewayUID: c.Gateway.UID, Requested: tr.asked.Name,
		Policy: t.policy, Action: t.action, OnCredential: t.resolving, OnUpstream: t.waited, RequestBytes: int64(len(tr.asked.Body)),
		ResponseBytes: int64(len(reply.Result) + len(reply.Error)), Revision: c.Snapshot.Revision,
		TraceID: trace.SpanContextFromContext(ctx).TraceID(), RequestID: c.RequestID, Version: c.Version,
	}
	if e.Time.IsZero() {
		e.Time = tr.started
	}
	if e.InGateway = time.Since(e.Time) - e.OnCredential - e.OnUpstream - t.person; e.InGateway < 0 {
		e.InGateway = 0
	}
	e.ClientName, e.ClientVersion = clientOf(tr.asked)
	tool := t.tool
	switch own := d.searches(c.Gateway); {
	case own && tr.asked.Name == compile.RunTool:
		e.RunTool = true
		e.Requested, _ = wire.DecodeString(wire.Get(tr.asked.Message.P.Arguments.Of(tr.asked.Body), "tool_name"))
		if tool == nil {
			tool = c.Snapshot.ToolToRun(c.Gateway, e.Requested)
		}
	case own && tr.asked.Name == compile.SearchTools:
		e.Upstream = compile.SearchTools
	case tool == nil:
		tool = c.Snapshot.Tool(c.Gateway, tr.asked.Name)
	}
	if tr.run != nil {
		e.RequestBytes = int64(len(tr.run.Body))
	}
	if tool != nil {
		e.Server, e.Upstream, e.Tool, e.Connection = tool.Server, tool.Upstream, tool.Name, tool.Connection
	}
	if t.tool != nil { // chosen, where it is chosen at the call
		e.Connection = t.connection
	}
	d.owner(c, &e)
	e.Requested = strings.ToValidUTF8(e.Requested[:min(len(e.Requested), call.MaxRequested)], "")
	e.Outcome, e.Reason = outcomeOfCall(tr, tool != nil || e.Upstream != "", reply, err)
	d.Audit.Record(e)
}

// owner says whose credential the call runs with.
func (d *Dispatcher) owner(c *call.Caller, e *call.AuditEvent) {
	connection := c.Snapshot.Connection(e.Connection)
	if connection == nil {
		return
	}
	e.OwnerKind, e.Owner = connection.OwnerKind, connection.Owner
	if server := c.Snapshot.Server(e.Server); server != nil && server.CallerOnly { // the connection is the installation only
		e.OwnerKind, e.Owner = compile.OwnerUser, c.Principal.Name
	}
}

// reasonPeerLost is edge's word for a call that another node had, which has not answered: it may have run.
const reasonPeerLost = "PEER_LOST"

// outcomeOfCall says what a call came to. known says that there is such a tool for the caller.
func outcomeOfCall(tr *trail, known bool, reply *call.Reply, err error) (outcome, reason string) {
	f := tr.fault
	if f == nil && err != nil {
		f = fault.From(err)
	}
	switch {
	case f != nil && (tr.target.sent || f.Kind == fault.Bug):
		return call.OutcomeFault, f.Reason
	case f != nil:
		return call.OutcomeRefused, f.Reason
	case tr.target.tool != nil && tr.target.pending != "":
		return tr.target.pending, ""
	case tr.target.tool != nil && startedTask(tr, reply):
		return call.OutcomeTask, ""
	case tr.target.tool == nil && reply.IsError && known: // run_tool
		return call.OutcomeRefused, ReasonArguments
	case tr.target.tool == nil && reply.IsError:
		return call.OutcomeRefused, ReasonUnknownTool
	case reply.Error != nil || reply.IsError:
		return call.OutcomeToolError, ""
	}
	return call.OutcomeOK, ""
}

// startedTask reports whether a result is that of a task of 2025-11-25, which has no type.
func startedTask(tr *trail, reply *call.Reply) bool {
	c := tr.caller
	return c.Version == wire.V20251125 && c.Gateway.Capabilities.Tasks && reply.Result != nil &&
		wire.Get(tr.run.Params, "task") != nil && wire.IsObject(wire.Get(reply.Result, "task"))
}

// pending is the outcome of a result of a type that is not the last word, else empty.
func pending(kind []byte) string {
	switch {
	case kind == nil, wire.EqualString(kind, "complete"):
		return ""
	case wire.EqualString(kind, "input_required"):
		return call.OutcomeInputRequired
	case wire.EqualString(kind, "task"):
		return call.OutcomeTask
	}
	return ""
}

// maxClient bounds what a client calls itself.
const maxClient = 128

// clientOf is what a modern client says of itself. Nothing depends on it.
func clientOf(k *call.Call) (name, version string) {
	raw := k.Message.Meta.ClientInfo.Of(k.Body)
	if raw == nil {
		return "", ""
	}
	name, _ = wire.DecodeString(wire.Get(raw, "name"))
	version, _ = wire.DecodeString(wire.Get(raw, "version"))
	return strings.ToValidUTF8(name[:min(len(name), maxClient)], ""), strings.ToValidUTF8(version[:min(len(version), maxClient)], "")
}
