// SPDX-License-Identifier: Apache-2.0

// Package method is the table of the methods that clients may call: the versions each exists in, the capability it
// belongs to, who answers it, and which parameters it needs (mcp.md M-24, M-32, M-46, M-54, M-55, M-60).
//
// edge uses it. It must never know sessions, callers or HTTP.
package method

import (
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// The methods that edge names.
const (
	Initialize  = "initialize"
	Ping        = "ping"
	SetLevel    = "logging/setLevel"
	Discover    = "server/discover"
	Listen      = "subscriptions/listen"
	ListTools   = "tools/list"
	CallTool    = "tools/call"
	GetPrompt   = "prompts/get"
	Read        = "resources/read"
	Subscribe   = "resources/subscribe"
	Unsubscribe = "resources/unsubscribe"
	Cancelled   = "notifications/cancelled"
	Progress    = "notifications/progress"

	RootsChanged = "notifications/roots/list_changed"
)

// Action says who answers a method.
type Action uint8

const (
	// Unknown methods are answered -32601.
	Unknown Action = iota
	// Own methods are answered by edge.
	Own
	// Listed methods are those of Dispatcher.List.
	Listed
	// Called methods are those of Dispatcher.Call.
	Called
)

// Needs are the members of params that a method cannot do without.
type Needs uint8

const (
	// Name is a string: the tool or prompt.
	Name Needs = 1 << iota
	// URI is a string: the resource.
	URI
	// Task is taskId, a string.
	Task
	// Reference is ref and argument, both objects.
	Reference
	// Arguments is an object where it is present.
	Arguments
)

// Method is one row of the table, for a version and a gateway.
type Method struct {
	Action Action
	Needs  Needs
	// Extension is set for methods of the tasks extension, which the client must have declared in the request.
	Extension string
	// Foreign says that MCP does not define the method: what it takes and answers is not known here.
	Foreign bool
	// InputRequired says that a modern result may ask the client for input (M-30).
	InputRequired bool
}

// span is the versions that a method exists in.
type span uint8

const (
	legacy span = 1 << iota
	modern
	tasks2025 // 2025-11-25 only
	both      = legacy | modern
)

func (s span) has(v wire.Version) bool {
	switch {
	case v.Era() == wire.Modern:
		return s&modern != 0
	case v == wire.V20251125:
		return s&(legacy|tasks2025) != 0
	}
	return s&legacy != 0
}

// row is what the table says of a method, whatever the gateway.
type row struct {
	Method
	span span
	has  func(c *compile.Capabilities) bool // nil: always there
}

// Find returns what a method is for a client of a version at a gateway: Unknown if the version has no such method, or
// the gateway does not declare the capability it belongs to. Methods that no version of MCP defines belong to extensions,
// which a gateway may let through (M-60).
func Find(name string, v wire.Version, g *view.Gateway) Method {
	r, ours := find(name)
	if !ours {
		if g.Passthrough {
			return Method{Action: Called, Foreign: true}
		}
		return Method{}
	}
	if !r.span.has(v) || (r.has != nil && !r.has(&g.Capabilities)) {
		return Method{}
	}
	m := r.Method
	m.InputRequired = m.InputRequired && v.Era() == wire.Modern
	if m.Needs&Task == 0 {
		return m
	}
	if v.Era() != wire.Modern {
		if !g.Capabilities.Tasks {
			return Method{}
		}
		return m
	}
	if _, ok := g.Capabilities.Extensions[compile.ExtensionTasks]; !ok {
		return Method{}
	}
	m.Extension = compile.ExtensionTasks
	return m
}

// find is the table. ours says that MCP defines the method, for whichever side.
func find(name string) (r row, ours bool) {
	switch name {
	case CallTool:
		return row{Method{Action: Called, Needs: Name | Arguments, InputRequired: true}, both, nil}, true
	case ListTools:
		return row{Method{Action: Listed}, both, nil}, true
	case Initialize, Ping:
		return row{Method{Action: Own}, legacy, nil}, true
	case SetLevel:
		return row{Method{Action: Own}, legacy, logging}, true
	case Discover, Listen:
		return row{Method{Action: Own}, modern, nil}, true
	case "prompts/list":
		return row{Method{Action: Listed}, both, prompts}, true
	case GetPrompt:
		return row{Method{Action: Called, Needs: Name | Arguments, InputRequired: true}, both, prompts}, true
	case "resources/list", "resources/templates/list":
		return row{Method{Action: Listed}, both, resources}, true
	case Read:
		return row{Method{Action: Called, Needs: URI, InputRequired: true}, both, resources}, true
	case Subscribe, Unsubscribe:
		return row{Method{Action: Called, Needs: URI}, legacy, watched}, true
	case "completion/complete":
		return row{Method{Action: Called, Needs: Reference}, both, completions}, true
	case "tasks/get", "tasks/cancel":
		return row{Method{Action: Called, Needs: Task}, tasks2025 | modern, nil}, true
	case "tasks/result":
		return row{Method{Action: Called, Needs: Task}, tasks2025, nil}, true
	case "tasks/update":
		return row{Method{Action: Called, Needs: Task}, modern, nil}, true
	case "tasks/list", "sampling/createMessage", "elicitation/create", "roots/list":
		return row{}, true // never offered (M-55); asked of clients, not by them
	}
	return row{}, false
}

func prompts(c *compile.Capabilities) bool     { return c.Prompts }
func resources(c *compile.Capabilities) bool   { return c.Resources }
func watched(c *compile.Capabilities) bool     { return c.Resources && c.ResourcesWatched }
func completions(c *compile.Capabilities) bool { return c.Completions }
func logging(c *compile.Capabilities) bool     { return c.Logging }

// Known returns the name of a method out of its raw JSON string. For those of the table it allocates nothing.
func Known(raw []byte) string {
	if len(raw) < 2 {
		return ""
	}
	switch string(raw[1 : len(raw)-1]) {
	case CallTool:
		return CallTool
	case ListTools:
		return ListTools
	case Ping:
		return Ping
	case Initialize:
		return Initialize
	case Discover:
		return Discover
	case GetPrompt:
		return GetPrompt
	case Read:
		return Read
	case Cancelled:
		return Cancelled
	}
	name, _ := wire.DecodeString(raw)
	return name
}
