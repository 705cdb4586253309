// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"log/slog"
	"sort"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// pageSize is the number of tools in one page of tools/list (G-15).
const pageSize = 500

// ListTools returns one page of the tools that the caller may see, as a raw ListToolsResult in the form of the caller's
// version, sorted by exposed name. cursor is empty for the first page; a cursor that this gateway did not make is
// Invalid. The pages of a gateway are rendered once per compiled gateway and version (M-68); there is no upstream call.
func (d *Dispatcher) ListTools(ctx context.Context, c call.Caller, cursor string) ([]byte, error) {
	var after string
	if cursor != "" {
		var ok bool
		if after, ok = d.Sealer.OpenCursor(c.Gateway.UID, cursor); !ok {
			return nil, fault.New(fault.Invalid, ReasonBadCursor, "The cursor is not valid; list again without it")
		}
	}
	tools := c.Snapshot.Tools(c.Gateway)
	start := sort.Search(len(tools), func(i int) bool { return tools[i].Exposed > after })
	end := min(start+pageSize, len(tools))

	var page []byte
	if start%pageSize == 0 && !c.Snapshot.HasDenials() {
		page = d.prepared(ctx, c, tools)[start/pageSize]
	} else {
		page = d.render(ctx, tools[start:end], c.Version)
	}
	if end == len(tools) {
		return append(page[:len(page):len(page)], '}'), nil
	}
	next := d.Sealer.SealCursor(c.Gateway.UID, tools[end-1].Exposed)
	out := append(page[:len(page):len(page)], `,"nextCursor":`...)
	return append(wire.AppendString(out, next), '}'), nil
}

// prepared returns all pages of the gateway for the version, each without its end.
func (d *Dispatcher) prepared(ctx context.Context, c call.Caller, tools []*view.Tool) [][]byte {
	return c.Gateway.List(slotOf(c.Version), func() [][]byte {
		pages := make([][]byte, 0, len(tools)/pageSize+1)
		for start := 0; start < len(tools) || start == 0; start += pageSize {
			pages = append(pages, d.render(ctx, tools[start:min(start+pageSize, len(tools))], c.Version))
		}
		if n := len(tools); n > 0 && n%pageSize == 0 { // a cursor at the very end has an empty page
			pages = append(pages, d.render(ctx, nil, c.Version))
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

// render writes {"tools":[…] without the closing brace. A definition leaves exactly as the upstream sent it but for its
// name, an overridden description, and what the client's version does not know (G-15, M-73).
func (d *Dispatcher) render(ctx context.Context, tools []*view.Tool, v wire.Version) []byte {
	size := 16
	for _, t := range tools {
		size += t.Body.Len() + len(t.Exposed) + len(t.Description) + 16
	}
	b := append(make([]byte, 0, size), `{"tools":[`...)
	first := true
	var edits wire.Edits
	var room [24]wire.Field
	for _, t := range tools {
		edits.Reset()
		body := t.Body.Bytes()
		fields, err := wire.Fields(room[:0], body)
		if err == nil {
			err = convert.Tool(&edits, body, v, false)
		}
		if err != nil { // discovery checked the definition, so this is a damaged body: leave this one tool out (M-72)
			d.Log.ErrorContext(ctx, "tool definition unreadable", slog.String(obs.AttrTool, t.Name), slog.Any(obs.AttrError, err))
			continue
		}
		object := wire.Span{Start: 0, End: len(body)}
		edits.Set(object, wire.Lookup(fields, "name"), "name", wire.Quote(t.Exposed))
		if t.Description != "" {
			edits.Set(object, wire.Lookup(fields, "description"), "description", wire.Quote(t.Description))
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = edits.AppendTo(b, body)
	}
	return append(b, ']')
}
