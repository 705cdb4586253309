// SPDX-License-Identifier: Apache-2.0

package exposed

import (
	"bytes"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Names are those of one server's things, for one caller. A nil Names changes nothing.
type Names struct {
	sealer      Sealer
	caller      *call.Caller
	server      *view.Server
	connection  string
	uris, tasks bool // may differ
	judged      string
}

// New returns the names of a server's things at the caller's gateway; nil, which costs nothing, if they are the server's
// own. connection is the name of the one that the server is reached with.
func New(s Sealer, c *call.Caller, server *view.Server, connection string) *Names {
	uris, tasks := differ(c.Gateway, server.Name), hasTasks(server)
	if !uris && !tasks {
		return nil
	}
	return &Names{sealer: s, caller: c, server: server, connection: connection, uris: uris, tasks: tasks}
}

// Judged has the ids of tasks say what has judged their call: what of returns is asked for only if there are tasks. Without it the ids
// say that nothing did.
func (n *Names) Judged(of func() string) *Names {
	if n != nil && n.tasks {
		n.judged = of()
	}
	return n
}

// relatedTask is the key of _meta that names the task of a message (2025-11-25).
const relatedTask = wire.ReservedPrefix + "related-task"

// differ reports whether URIs of the server may be called something else by clients of the gateway. It is false for all
// gateways that show resources of one server, whose results need no second look.
func differ(g *view.Gateway, server string) bool {
	shown := g.ResourceFeatures()
	return len(shown) > 1 || (len(shown) == 1 && (g.AlwaysURIs || shown[0].Server != server))
}

// hasTasks reports whether a server has tasks of either form.
func hasTasks(s *view.Server) bool {
	_, extension := s.Capabilities.Extensions[compile.ExtensionTasks]
	return s.Capabilities.Tasks || extension
}

// renaming collects the edits to one text of the server. Spans index it.
type renaming struct {
	*Names
	raw   []byte
	edits wire.Edits
	err   error
}

// Result writes the URIs and the ids of tasks in the result of a method as the client knows them (M-66, M-55). Every other
// byte stays; result itself comes back where nothing changes.
func (n *Names) Result(method string, result []byte) ([]byte, error) {
	if n == nil {
		return result, nil
	}
	r := renaming{Names: n, raw: result}
	all := wire.Span{Start: 0, End: len(result)}
	if n.uris {
		r.uriOf(method, all)
	}
	if n.tasks {
		r.taskOf(method, all)
		r.related(all)
	}
	return r.done()
}

// Message does the same for a notification.
func (n *Names) Message(message []byte) ([]byte, error) {
	if n == nil {
		return message, nil
	}
	r := renaming{Names: n, raw: message}
	all := wire.Span{Start: 0, End: len(message)}
	method, params := r.member(all, "method").Of(message), r.member(all, "params")
	if n.uris && wire.EqualString(method, "notifications/resources/updated") {
		r.uri(r.member(params, "uri"))
	}
	if n.tasks {
		if wire.EqualString(method, "notifications/tasks") || wire.EqualString(method, "notifications/tasks/status") {
			r.task(r.member(params, "taskId"))
		}
		r.related(params)
	}
	return r.done()
}

// Tool adds to e the edit that gives the resource which shows a tool's results, _meta.ui.resourceUri of its definition, the
// name that the client knows (M-66).
func (n *Names) Tool(e *wire.Edits, definition []byte) error {
	if n == nil || !n.uris || !bytes.Contains(definition, []byte("resourceUri")) {
		return nil
	}
	r := renaming{Names: n, raw: definition}
	at := wire.Span{Start: 0, End: len(definition)}
	for _, name := range [...]string{"_meta", "ui", "resourceUri"} {
		at = r.member(at, name)
	}
	if uri, ok := wire.DecodeString(at.Of(definition)); ok {
		e.Replace(at, wire.Quote(n.caller.Gateway.ExposeURI(n.server.Name, uri)))
	}
	return r.err
}

func (r *renaming) uriOf(method string, all wire.Span) {
	switch method {
	case "tools/call", "tasks/result":
		r.each(r.member(all, "content"), r.block)
	case "tasks/get": // of the extension, with the result of the call
		r.each(r.member(r.member(all, "result"), "content"), r.block)
	case "prompts/get":
		r.each(r.member(all, "messages"), func(message wire.Span) { r.block(r.member(message, "content")) })
	case "resources/read":
		r.each(r.member(all, "contents"), func(c wire.Span) { r.uri(r.member(c, "uri")) })
	case "resources/list":
		r.each(r.member(all, "resources"), func(c wire.Span) { r.uri(r.member(c, "uri")) })
	}
}

// taskOf renames the task that a result tells of. Members of those names mean something else wherever the result is no
// task: a tool may answer with whatever it likes.
func (r *renaming) taskOf(method string, all wire.Span) {
	switch method {
	case "tasks/get", "tasks/update", "tasks/cancel":
		r.task(r.member(all, "taskId"))
	case "tools/call":
		if r.caller.Version.Era() == wire.Modern {
			if wire.EqualString(r.member(all, "resultType").Of(r.raw), "task") {
				r.task(r.member(all, "taskId"))
			}
			return
		}
		// Of 2025-11-25: a result with a task has no content, which every other one must have.
		if r.caller.Version == wire.V20251125 && r.server.Capabilities.Tasks && !r.member(all, "content").Present() {
			r.task(r.member(r.member(all, "task"), "taskId"))
		}
	}
}

func (r *renaming) done() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.edits.Len() == 0 {
		return r.raw, nil
	}
	return r.edits.AppendTo(make([]byte, 0, len(r.raw)+64), r.raw), nil
}

// member returns the value of a member, absent if object is no object or has none.
func (r *renaming) member(object wire.Span, name string) wire.Span {
	text := object.Of(r.raw)
	if r.err != nil || !wire.IsObject(text) {
		return wire.Span{}
	}
	var room [12]wire.Field
	fields, err := wire.Fields(room[:0], text)
	if err != nil {
		r.err = err
		return wire.Span{}
	}
	found := wire.Lookup(fields, name).Span
	if !found.Present() {
		return wire.Span{}
	}
	return wire.Span{Start: object.Start + found.Start, End: object.Start + found.End}
}

// each calls fn for the elements of an array.
func (r *renaming) each(array wire.Span, fn func(wire.Span)) {
	text := array.Of(r.raw)
	if r.err != nil || len(text) == 0 || text[0] != '[' {
		return
	}
	var room [16]wire.Span
	elements, err := wire.Elements(room[:0], text)
	if err != nil {
		r.err = err
		return
	}
	for _, e := range elements {
		fn(wire.Span{Start: array.Start + e.Start, End: array.Start + e.End})
	}
}

// block renames the URI of a content block that is a link to a resource, or holds one.
func (r *renaming) block(block wire.Span) {
	switch kind := r.member(block, "type").Of(r.raw); {
	case wire.EqualString(kind, "resource_link"):
		r.uri(r.member(block, "uri"))
	case wire.EqualString(kind, "resource"):
		r.uri(r.member(r.member(block, "resource"), "uri"))
	}
}

func (r *renaming) uri(at wire.Span) {
	uri, ok := wire.DecodeString(at.Of(r.raw))
	if !ok {
		return
	}
	if exposed := r.caller.Gateway.ExposeURI(r.server.Name, uri); exposed != uri {
		r.edits.Replace(at, wire.Quote(exposed))
	}
}

// task gives a task the id that the client knows.
func (r *renaming) task(at wire.Span) {
	if id, ok := wire.DecodeString(at.Of(r.raw)); ok {
		r.edits.Replace(at, wire.Quote(r.SealTask(id)))
	}
}

// related does so for the task that a message names in its _meta.
func (r *renaming) related(object wire.Span) {
	r.task(r.member(r.member(r.member(object, "_meta"), relatedTask), "taskId"))
}
