// SPDX-License-Identifier: Apache-2.0

// Package subscribe reads and writes what subscriptions/listen holds: the filter of the request, the acknowledgment, the
// id that every message carries, and the result of its end (mcp.md M-29; MCP 2026-07-28 basic/patterns/subscriptions).
//
// edge uses it. It must never know streams or who is calling.
package subscribe

import (
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/changes"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// MaxURIs and MaxTasks bound one subscription; what is beyond is not honoured (mcp.md §2.1).
const (
	MaxURIs  = 256
	MaxTasks = 256
)

// Filter is what a client wants to hear.
type Filter struct {
	call.Subscription
	// Tasks says that task ids were named at all, which is for clients with the tasks extension only.
	Tasks bool
}

// Parse reads params, a raw object that was scanned before. The fault is Invalid: -32602 if its member notifications is
// no object or holds a value of another type than the specification says, -32600 if a key stands twice in it (M-10).
// Kinds that are not known are ignored.
func Parse(params []byte) (Filter, error) {
	var f Filter
	var room [8]wire.Field
	fields, err := wire.Fields(room[:0], params)
	if err != nil {
		return f, err //nolint:wrapcheck // no object, or a key twice: a fault with the code to answer
	}
	raw := wire.Lookup(fields, "notifications").Of(params)
	if !wire.IsObject(raw) {
		return f, invalid("params.notifications must be an object")
	}
	if fields, err = wire.Fields(nil, raw); err != nil {
		return f, err //nolint:wrapcheck // a key twice (M-10)
	}
	for _, member := range fields {
		if err := f.member(string(member.Name), member.Of(raw)); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Filter) member(name string, raw []byte) error {
	switch name {
	case "toolsListChanged":
		return boolean(&f.Tools, name, raw)
	case "promptsListChanged":
		return boolean(&f.Prompts, name, raw)
	case "resourcesListChanged":
		return boolean(&f.Resources, name, raw)
	case "resourceSubscriptions":
		return list(&f.URIs, MaxURIs, name, raw)
	case "taskIds":
		err := list(&f.TaskIDs, MaxTasks, name, raw)
		f.Tasks = len(f.TaskIDs) > 0
		return err
	}
	return nil
}

func boolean(into *bool, name string, raw []byte) error {
	switch string(raw) {
	case "true":
		*into = true
	case "false":
	default:
		return invalid("params.notifications." + name + " must be true or false")
	}
	return nil
}

// list reads an array of strings, each once, up to most of them.
func list(into *[]string, most int, name string, raw []byte) error {
	elements, err := wire.Elements(nil, raw)
	if err != nil {
		return invalid("params.notifications." + name + " must be an array")
	}
	seen := make(map[string]struct{}, min(len(elements), most))
	for _, e := range elements {
		text, ok := wire.DecodeString(e.Of(raw))
		if !ok {
			return invalid("params.notifications." + name + " must hold strings")
		}
		if _, twice := seen[text]; twice || len(seen) == most {
			continue
		}
		seen[text] = struct{}{}
		*into = append(*into, text)
	}
	return nil
}

func invalid(text string) error { return fault.New(fault.Invalid, wire.ReasonParams, text) }

// Lists returns which list_changed notifications a subscription holds.
func Lists(s call.Subscription) changes.Set {
	return changes.Set{Tools: s.Tools, Prompts: s.Prompts, Resources: s.Resources}
}

// Acknowledged returns the first message of the stream. id is the raw id of the request.
func Acknowledged(id []byte, s call.Subscription) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":`), meta(id)...)
	b = append(b, `,"notifications":{`...)
	start := len(b)
	for _, kind := range [...]struct {
		on   bool
		name string
	}{{s.Tools, "toolsListChanged"}, {s.Prompts, "promptsListChanged"}, {s.Resources, "resourcesListChanged"}} {
		if kind.on {
			b = append(key(b, start, kind.name), `true`...)
		}
	}
	b = texts(b, start, "resourceSubscriptions", s.URIs)
	b = texts(b, start, "taskIds", s.TaskIDs)
	return append(b, `}}}`...)
}

// key appends a name with its colon and, but for the first after start, a comma before it.
func key(b []byte, start int, name string) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	return append(wire.AppendString(b, name), ':')
}

func texts(b []byte, start int, name string, values []string) []byte {
	if len(values) == 0 {
		return b
	}
	b = append(key(b, start, name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, v)
	}
	return append(b, ']')
}

func meta(id []byte) []byte {
	return append(append([]byte(`{"`+wire.MetaSubscriptionID+`":`), id...), '}')
}

// Tagged returns a notification with the id of the subscription in its _meta, whatever id stood there; nil for what is
// no notification, or of no kind that the subscription holds.
func Tagged(message, id []byte, s *call.Subscription) []byte {
	var m wire.Message
	if wire.Scan(message, &m) != nil || m.Kind != wire.Notification || !wanted(m.Method.Of(message), s) {
		return nil
	}
	var e wire.Edits
	switch {
	case !m.Params.Present():
		e.Insert(m.Body, "params", append(append([]byte(`{"_meta":`), meta(id)...), '}'))
	case !m.P.Meta.Present():
		e.Insert(m.Params.Span, "_meta", meta(id))
	default:
		raw := m.P.Meta.Of(message)
		fields, err := wire.Fields(nil, raw)
		if err != nil {
			return nil
		}
		old := wire.Lookup(fields, wire.MetaSubscriptionID)
		if old.Present() {
			old.Key, old.Start, old.End = old.Key+m.P.Meta.Start, old.Start+m.P.Meta.Start, old.End+m.P.Meta.Start
		}
		e.Set(m.P.Meta.Span, old, wire.MetaSubscriptionID, id)
	}
	return e.AppendTo(make([]byte, 0, len(message)+len(id)+64), message)
}

func wanted(method []byte, s *call.Subscription) bool {
	switch {
	case wire.EqualString(method, "notifications/resources/updated"):
		return len(s.URIs) > 0
	case wire.EqualString(method, "notifications/tasks"):
		return len(s.TaskIDs) > 0
	case wire.EqualString(method, "notifications/tools/list_changed"):
		return s.Tools
	case wire.EqualString(method, "notifications/prompts/list_changed"):
		return s.Prompts
	case wire.EqualString(method, "notifications/resources/list_changed"):
		return s.Resources
	}
	return false
}

// End returns the result that ends a subscription, without what every modern result has.
func End(id []byte) []byte { return append(append([]byte(`{"_meta":`), meta(id)...), '}') }
