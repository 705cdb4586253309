// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Search is search_tools and run_tool, of gateways that load tools when needed (search room). Its faults are Invalid, for arguments
// that these do not have.
type Search interface {
	// Names are the names of the two, sorted.
	Names() []string
	// Definition is what is listed of one of them, raw, in the form of the newest version.
	Definition(name string) []byte
	// Check returns what Find would say against the arguments.
	Check(arguments []byte) error
	// Find answers search_tools with a raw result. unavailable says why a tool cannot be called as things are, empty if it can.
	Find(ctx context.Context, c *call.Caller, arguments []byte, unavailable func(*view.Tool) string) ([]byte, error)
	// Open says what a run_tool is to run.
	Open(c *call.Caller, arguments []byte) (call.ToRun, error)
	// Near returns the names of tools that the caller sees and may have meant, at most five.
	Near(c *call.Caller, name string) []string
}

// searches reports whether a gateway lists search_tools and run_tool in place of its tools.
func (d *Dispatcher) searches(g *view.Gateway) bool { return d.Search != nil && g.LoadToolsWhenNeeded }

// ownTool answers a call of search_tools. A run_tool that is in order becomes the call that it stands for, with all else that came
// with it, and is not done: from here on nothing tells it from one that names the tool itself (G-24).
func (d *Dispatcher) ownTool(ctx context.Context, c *call.Caller, k *call.Call) (reply call.Reply, done bool, err error) {
	if k.Method != methodCallTool || !d.searches(c.Gateway) {
		return call.Reply{}, false, nil
	}
	arguments := k.Message.P.Arguments.Of(k.Body)
	switch k.Name {
	case compile.SearchTools:
		start := time.Now()
		found, err := d.Search.Find(ctx, c, arguments, func(t *view.Tool) string { return d.unavailable(c, t) })
		d.overhead.Record(ctx, time.Since(start).Seconds(), d.outcomes[outcomeOf(err)]...)
		return call.Reply{Result: found}, true, err //nolint:wrapcheck // a fault with the answer
	case compile.RunTool:
		run, err := d.Search.Open(c, arguments)
		if err != nil {
			return call.Reply{}, true, err //nolint:wrapcheck // a fault with the answer
		}
		if run.Tool == nil {
			return call.Reply{Result: run.Refusal, IsError: true}, true, nil
		}
		opened, err := unwrapped(k, run.Tool.Exposed, run.Arguments)
		if err != nil {
			return call.Reply{}, true, err
		}
		*k = opened
	}
	return call.Reply{}, false, nil
}

func outcomeOf(err error) string {
	if err != nil {
		return outcomeFault
	}
	return outcomeOK
}

// unwrapped is the request that a run_tool stands for: it names the tool and has its arguments; every other byte is as it came.
func unwrapped(k *call.Call, name string, arguments []byte) (call.Call, error) {
	p := &k.Message.P
	var edits wire.Edits
	edits.Replace(p.Name.Span, wire.Quote(name))
	if arguments == nil {
		edits.Delete(p.Arguments)
	} else {
		edits.Replace(p.Arguments.Span, arguments)
	}
	body := edits.AppendTo(make([]byte, 0, len(k.Body)+len(name)), k.Body)
	m := new(wire.Message)
	if err := wire.Scan(body, m); err != nil {
		return call.Call{}, err //nolint:wrapcheck // a fault with the answer
	}
	return call.Call{
		Method: k.Method, Name: name, Params: m.Params.Of(body), Message: m, Body: body, ProgressToken: k.ProgressToken, Context: k.Context,
		Wrapped: true,
	}, nil
}

// behindDoor makes k name the tool that a run_tool names, for what depends on where a call goes and not on what it says.
func (d *Dispatcher) behindDoor(c *call.Caller, k *call.Call) {
	if k.Method != methodCallTool || k.Name != compile.RunTool || !d.searches(c.Gateway) {
		return
	}
	name, _ := wire.DecodeString(wire.Get(k.Message.P.Arguments.Of(k.Body), "tool_name"))
	if t := c.Snapshot.ToolToRun(c.Gateway, name); t != nil {
		k.Name = t.Exposed
	}
}

// unavailable says why a caller cannot call a tool as things are, as far as the view knows: in the words that a call would be
// refused with. It is empty if nothing is known.
func (d *Dispatcher) unavailable(c *call.Caller, t *view.Tool) string {
	if t.Held {
		return fault.From(held(t)).Public
	}
	if lacks := lacking(c.Principal.Scopes, t.RequiredScopes); len(lacks) > 0 {
		return "The access token lacks the scope " + strings.Join(lacks, " ") + "."
	}
	if err := d.foreseen(c, t); err != nil {
		return fault.From(err).Public
	}
	at := target{what: "tool", server: t.Server, connection: t.Connection, atCall: t.AtCall, tool: t}
	server, connection, err := locate(c, &at)
	if err != nil {
		return fault.From(err).Public
	}
	if server.NeedsSecret && server.Version(connection) == "" {
		return fault.From(noCredential(connection, at.what)).Public
	}
	return ""
}

func lacking(granted, required []string) (lacks []string) {
	for _, scope := range required {
		if !compile.HasScope(granted, scope) {
			lacks = append(lacks, scope)
		}
	}
	return lacks
}

// ownTools is the list of a gateway that loads tools when needed.
func (d *Dispatcher) ownTools(c *call.Caller) list {
	names, tasks := d.Search.Names(), c.Gateway.Capabilities.Tasks && c.Version == wire.V20251125
	return list{
		id: 't', slot: 0, member: "tools", length: len(names),
		name: func(i int) string { return names[i] },
		body: func(i int, v wire.Version, e *wire.Edits) ([]byte, error) {
			body := d.Search.Definition(names[i])
			return body, convert.Tool(e, body, v, tasks)
		},
	}
}
