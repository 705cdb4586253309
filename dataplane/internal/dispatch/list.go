// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sort"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// pageSize is the number of entries in one page of a list from the view (G-15).
const pageSize = 500

// list is one of the lists that are rendered from the view.
type list struct {
	id     byte // in cursors
	slot   int  // of its renderings in the gateway
	member string
	length int
	name   func(i int) string // by which the list is sorted
	body   func(i int, v wire.Version, e *wire.Edits) ([]byte, error)
}

// List returns one page of what the caller may see, in the form of the caller's version. Lists of tools, prompts and
// templates come from the view, sorted, without an upstream call; their pages are rendered once for each compiled gateway
// and version (M-68). Resources are asked for (M-69). A cursor that this gateway did not make for this list is Invalid.
func (d *Dispatcher) List(ctx context.Context, c call.Caller, method string, cursor *string) (call.Page, error) {
	switch method {
	case "tools/list":
		if d.searches(c.Gateway) {
			return d.listFromView(ctx, &c, d.ownTools(&c), cursor)
		}
		return d.listFromView(ctx, &c, d.toolList(&c), cursor)
	case "prompts/list":
		return d.listFromView(ctx, &c, promptList(&c), cursor)
	case "resources/templates/list":
		return d.listFromView(ctx, &c, templateList(&c), cursor)
	case methodListed:
		return d.listResources(ctx, &c, cursor)
	}
	return call.Page{}, fault.New(fault.NotFound, ReasonUnknownMethod, "Method not found")
}

func (d *Dispatcher) listFromView(ctx context.Context, c *call.Caller, l list, cursor *string) (call.Page, error) {
	start := 0
	if cursor != nil {
		last, ok := d.Sealer.OpenCursor(c.Gateway.UID, *cursor)
		if !ok || last == "" || last[0] != l.id {
			return call.Page{}, badCursor()
		}
		start = sort.Search(l.length, func(i int) bool { return l.name(i) > last[1:] })
	}
	end := min(start+pageSize, l.length)
	var page []byte
	if start%pageSize == 0 && !c.Snapshot.HasDenials() {
		page = d.prepared(ctx, c, l)[start/pageSize]
	} else {
		page = d.render(ctx, l, start, end, c.Version)
	}
	if end == l.length {
		return call.Page{Result: append(page[:len(page):len(page)], '}')}, nil
	}
	next := d.Sealer.SealCursor(c.Gateway.UID, string(l.id)+l.name(end-1))
	out := append(page[:len(page):len(page)], `,"nextCursor":`...)
	return call.Page{Result: append(wire.AppendString(out, next), '}')}, nil
}

func badCursor() error {
	return fault.New(fault.Invalid, ReasonBadCursor, "The cursor is not valid; list again without it")
}

// prepared returns all pages of the list for the version, each without its end.
func (d *Dispatcher) prepared(ctx context.Context, c *call.Caller, l list) [][]byte {
	return c.Gateway.List(l.slot*view.ListVersions+slotOf(c.Version), func() [][]byte {
		pages := make([][]byte, 0, l.length/pageSize+1)
		for start := 0; start < l.length || start == 0; start += pageSize {
			pages = append(pages, d.render(ctx, l, start, min(start+pageSize, l.length), c.Version))
		}
		if l.length > 0 && l.length%pageSize == 0 { // a cursor at the very end has an empty page
			pages = append(pages, d.render(ctx, l, 0, 0, c.Version))
		}
		return pages
	})
}

func slotOf(v wire.Version) int {
	versions := wire.Supported()
	for i, known := range versions {
		if v == known {
			return i
		}
	}
	return len(versions)
}

// render writes {"<member>":[…] without the closing brace. A definition leaves exactly as the upstream sent it but for
// what body edits (G-15, M-73).
func (d *Dispatcher) render(ctx context.Context, l list, start, end int, v wire.Version) []byte {
	b := append([]byte(nil), `{"`+l.member+`":[`...)
	first := true
	var edits wire.Edits
	for i := start; i < end; i++ {
		edits.Reset()
		body, err := l.body(i, v, &edits)
		if err != nil { // discovery checked the definition, so this is a damaged body: leave this one out (M-72)
			d.Log.ErrorContext(ctx, "definition unreadable", slog.String("list", l.member), slog.String("name", l.name(i)), slog.Any(obs.AttrError, err))
			continue
		}
		if body == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = edits.AppendTo(b, body)
	}
	return append(b, ']')
}

func (d *Dispatcher) toolList(c *call.Caller) list {
	tools, tasks := c.Snapshot.Tools(c.Gateway), c.Gateway.Capabilities.Tasks && c.Version == wire.V20251125
	return list{
		id: 't', slot: 0, member: "tools", length: len(tools),
		name: func(i int) string { return tools[i].Exposed },
		body: func(i int, v wire.Version, e *wire.Edits) ([]byte, error) {
			t := tools[i]
			body := t.Body.Bytes()
			if hidden(c, t, body, v) {
				return nil, nil
			}
			if err := convert.Tool(e, body, v, tasks); err != nil {
				return nil, err
			}
			if server := c.Snapshot.Server(t.Server); server != nil {
				if err := d.names(c, server, t.Connection).Tool(e, body); err != nil {
					return nil, err
				}
			}
			return body, named(e, body, "name", t.Exposed, t.Description)
		},
	}
}

// hidden reports whether a tool has arguments marked for headers in a way that modern HTTP cannot have (M-64).
func hidden(c *call.Caller, t *view.Tool, body []byte, v wire.Version) bool {
	if v.Era() != wire.Modern {
		s := c.Snapshot.Server(t.Server)
		if s == nil || s.Command != "" || wire.Version(s.Protocol).Era() != wire.Modern {
			return false
		}
	}
	if !bytes.Contains(body, []byte("x-mcp-header")) {
		return false
	}
	_, err := headerschema.OfTool(body)
	return err != nil
}

func promptList(c *call.Caller) list {
	prompts := c.Gateway.Prompts
	if c.Snapshot.HasDenials() {
		prompts = slices.DeleteFunc(slices.Clone(prompts), func(p *compile.Prompt) bool { return c.Snapshot.Denied("server", p.Server) })
	}
	return list{
		id: 'p', slot: 1, member: "prompts", length: len(prompts),
		name: func(i int) string { return prompts[i].Exposed },
		body: func(i int, _ wire.Version, e *wire.Edits) ([]byte, error) {
			return prompts[i].Body, named(e, prompts[i].Body, "name", prompts[i].Exposed, "")
		},
	}
}

func templateList(c *call.Caller) list {
	templates := c.Gateway.Templates
	if c.Snapshot.HasDenials() {
		templates = slices.DeleteFunc(slices.Clone(templates), func(t *compile.Template) bool { return c.Snapshot.Denied("server", t.Server) })
	}
	return list{
		id: 'm', slot: 2, member: "resourceTemplates", length: len(templates),
		name: func(i int) string { return templates[i].URI },
		body: func(i int, _ wire.Version, e *wire.Edits) ([]byte, error) {
			return templates[i].Body, named(e, templates[i].Body, "uriTemplate", templates[i].URI, "")
		},
	}
}

// named gives a definition the name that clients see and, where there is one, a description.
func named(e *wire.Edits, body []byte, member, name, description string) error {
	var room [24]wire.Field
	fields, err := wire.Fields(room[:0], body)
	if err != nil {
		return err
	}
	object := wire.Span{Start: 0, End: len(body)}
	e.Set(object, wire.Lookup(fields, member), member, wire.Quote(name))
	if description != "" {
		e.Set(object, wire.Lookup(fields, "description"), "description", wire.Quote(description))
	}
	return nil
}
