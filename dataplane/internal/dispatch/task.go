// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/exposed"
	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Methods about tasks: those of 2025-11-25, and of the extension.
const (
	methodTask       = "tasks/get"
	methodTaskResult = "tasks/result"
	methodTaskUpdate = "tasks/update"
	methodTaskCancel = "tasks/cancel"
)

// isTaskOnly reports whether a server of 2025-11-25 runs the tool only as a task, for a client that knows none of that
// form, or could not know it of this tool: bridge follows the task then.
func isTaskOnly(c *call.Caller, k *call.Call, s *view.Server, t *view.Tool) bool {
	knows := c.Version == wire.V20251125 && (!k.Wrapped || wire.Get(k.Params, "task") != nil)
	if !s.Capabilities.Tasks || knows || wire.Version(s.Protocol).Era() == wire.Modern {
		return false
	}
	return wire.EqualString(wire.Get(t.Body.Bytes(), "execution", "taskSupport"), "required")
}

// findTask finds the server of a task. A foreign task, a made-up id and a task of a connection that the gateway has no
// more are the same to the client (M-46).
func (d *Dispatcher) findTask(c *call.Caller, k *call.Call) (target, error) {
	at := k.Message.P.TaskID.Span
	id, _ := wire.DecodeString(at.Of(k.Body))
	t, ok := exposed.OpenTask(d.Sealer, c, id)
	if !ok || !isBehind(c, &t) {
		return target{}, fault.New(fault.Invalid, ReasonUnknownTask, "Unknown task")
	}
	return target{
		what: "task", exposed: id, server: t.Server, connection: t.Connection, at: at, value: t.ID,
		retryable: k.Method == methodTask, judged: t.Judged,
	}, nil
}

// isBehind reports whether the gateway still has a tool that runs where the task does, or may for this caller.
func isBehind(c *call.Caller, t *exposed.Task) bool {
	return !c.Snapshot.Denied("server", t.Server) && slices.ContainsFunc(c.Snapshot.Tools(c.Gateway), func(tool *view.Tool) bool {
		switch {
		case tool.Server != t.Server:
			return false
		case tool.AtCall:
			server := c.Snapshot.Server(t.Server)
			return server != nil && c.Snapshot.MayRunWith(server, c.Snapshot.Connection(t.Connection), c.Principal)
		}
		return tool.Connection == t.Connection
	})
}

// watchedTasks returns those tasks that a subscription can have, as the client calls them.
func (d *Dispatcher) watchedTasks(c *call.Caller, ids []string) (got []string) {
	for _, id := range ids {
		if t, ok := exposed.OpenTask(d.Sealer, c, id); ok && isBehind(c, &t) {
			got = append(got, id)
		}
	}
	return got
}

// taskParts sorts tasks by the connections that they run at.
func (d *Dispatcher) taskParts(c *call.Caller, ids []string) (found []part) {
	for _, id := range ids {
		t, ok := exposed.OpenTask(d.Sealer, c, id)
		if !ok {
			continue
		}
		i := slices.IndexFunc(found, func(p part) bool { return p.connection == t.Connection })
		if i < 0 {
			i = len(found)
			found = append(found, part{target: target{what: "task", server: t.Server, connection: t.Connection}})
		}
		found[i].tasks = append(found[i].tasks, t.ID)
	}
	return found
}

// sessionAsker is the client of a session, for questions that come outside of calls: tasks are named as the one who asks
// names them.
type sessionAsker struct {
	call.Asker
	d      *Dispatcher
	caller *call.Caller
}

// Ask implements call.Asker.
func (a sessionAsker) Ask(ctx context.Context, q call.Question) (call.Answer, error) {
	asker := a.Asker
	var server *view.Server
	if found := a.caller.Snapshot.Connection(q.Connection); found != nil {
		if server = a.caller.Snapshot.Server(found.Server); server != nil {
			asker = a.d.names(a.caller, server, q.Connection).Asker(a.d.aside(ctx, a.caller, server.Name).asker(asker))
		}
	}
	if server == nil && len(a.caller.Gateway.ResultPolicies) > 0 { // of yesterday: nobody can tell what covers it
		return call.Answer{}, fault.New(fault.Unavailable, ReasonServerMissing, "The server that asks was removed.")
	}
	return asker.Ask(ctx, q) //nolint:wrapcheck // the asker's own
}

// names are what the caller calls the things of a server.
func (d *Dispatcher) names(c *call.Caller, server *view.Server, connection string) *exposed.Names {
	return exposed.New(d.Sealer, c, server, connection)
}

// namesOf are names for what a request is answered with. The id of a task that a call makes says which result policies judged the call:
// those that are written later have not, and a task does not say what they would have to know (G-33). About a task, its own id comes back.
func (d *Dispatcher) namesOf(c *call.Caller, server *view.Server, t *target) *exposed.Names {
	return d.names(c, server, t.connection).Judged(func() string {
		if t.tool != nil {
			return policy.Judged(c.Gateway, t.server)
		}
		return t.judged
	})
}
