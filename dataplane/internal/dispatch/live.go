// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// patience is how long one server may take for its page of resources/list (M-69).
const patience = 5 * time.Second

// place is where the list of one server goes on.
type place struct {
	Server string  `json:"s"`
	Cursor *string `json:"c,omitempty"` // of the upstream; nil for its first page
}

// pageOf is what one server listed.
type pageOf struct {
	resources []byte // raw elements, comma-separated, with the URIs that clients know
	next      *string
	failed    bool
}

// listResources asks all servers that show resources, at once, and joins their pages in the order of their names. A
// server that fails is left out and named in _meta; the others go on at the cursor, which holds where each of them is.
func (d *Dispatcher) listResources(ctx context.Context, c *call.Caller, cursor *string) (call.Page, error) {
	places, err := d.places(c, cursor)
	if err != nil {
		return call.Page{}, err
	}
	pages := make([]pageOf, len(places))
	var asking sync.WaitGroup
	for i, p := range places {
		asking.Go(func() { pages[i] = d.ask(ctx, c, p) })
	}
	asking.Wait()
	if err := ctx.Err(); err != nil {
		return call.Page{}, err
	}
	page := call.Page{Result: []byte(`{"resources":[`)}
	var left []place
	var partial []string
	for i, p := range pages {
		if p.failed {
			partial = append(partial, places[i].Server)
			continue
		}
		if len(p.resources) > 0 {
			if page.Result[len(page.Result)-1] != '[' {
				page.Result = append(page.Result, ',')
			}
			page.Result = append(page.Result, p.resources...)
		}
		if p.next != nil {
			left = append(left, place{places[i].Server, p.next})
		}
	}
	page.Result = append(page.Result, ']')
	if left != nil {
		plain, err := json.Marshal(left)
		if err != nil {
			return call.Page{}, err
		}
		next := d.Sealer.SealCursor(c.Gateway.UID, "r"+string(plain))
		page.Result = wire.AppendString(append(page.Result, `,"nextCursor":`...), next)
	}
	page.Result = append(page.Result, '}')
	if partial != nil {
		names, err := json.Marshal(partial)
		if err != nil {
			return call.Page{}, err
		}
		page.Meta = append([]byte(`"`+wire.OwnPrefix+`partial":`), names...)
	}
	return page, nil
}

// places returns where the list starts, or goes on.
func (d *Dispatcher) places(c *call.Caller, cursor *string) ([]place, error) {
	var places []place
	if cursor == nil {
		for _, f := range c.Gateway.ResourceFeatures() {
			places = append(places, place{Server: f.Server})
		}
		return places, nil
	}
	plain, ok := d.Sealer.OpenCursor(c.Gateway.UID, *cursor)
	if !ok || plain == "" || plain[0] != 'r' || json.Unmarshal([]byte(plain[1:]), &places) != nil {
		return nil, badCursor()
	}
	return places, nil
}

// ask asks one server for its page. A server that the gateway does not show any more has none.
func (d *Dispatcher) ask(ctx context.Context, c *call.Caller, p place) (page pageOf) {
	var feature *compile.Feature
	for _, f := range c.Gateway.ResourceFeatures() {
		if f.Server == p.Server {
			feature = &f
		}
	}
	server := c.Snapshot.Server(p.Server)
	if feature == nil || server == nil || c.Snapshot.Denied("server", p.Server) || !server.Capabilities.Resources {
		return pageOf{}
	}
	raw, err := d.askRaw(ctx, c, &target{what: "resource", server: p.Server, connection: feature.Connection, atCall: feature.AtCall}, p.Cursor)
	if err == nil {
		page, err = d.read(c, p, raw)
	}
	if err != nil {
		if ctx.Err() == nil {
			d.Log.InfoContext(ctx, "resources not listed", slog.String(obs.AttrServer, p.Server), obs.Fault(err))
		}
		return pageOf{failed: true}
	}
	return page
}

func (d *Dispatcher) askRaw(ctx context.Context, c *call.Caller, t *target, cursor *string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o, err := d.outbound(ctx, c, t)
	if err != nil {
		return nil, err
	}
	o.Method, o.Params, o.Retryable = methodListed, []byte(`{}`), true
	if cursor != nil {
		o.Params = append(wire.AppendString([]byte(`{"cursor":`), *cursor), '}')
	}
	d.pass(ctx, c, o)
	ear := d.ear(c, o.Server, t.connection)
	var waited time.Duration
	reply, err := d.send(ctx, o, ear.sink(func([]byte) error { return nil }), &waited)
	if err != nil {
		return nil, err
	}
	if reply.Error != nil {
		return nil, unreadable(nil)
	}
	return d.names(c, o.Server, t.connection).Result(methodListed, reply.Result)
}

// read takes the resources and the cursor out of a result. "" is a cursor; null, as none at all, is the end (M-70).
func (d *Dispatcher) read(c *call.Caller, p place, raw []byte) (page pageOf, err error) {
	var room [8]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return page, err
	}
	list := wire.Lookup(fields, "resources").Of(raw)
	elements, err := wire.Elements(nil, list)
	if err != nil {
		return page, err
	}
	if len(elements) > 0 {
		page.resources = list[elements[0].Start:elements[len(elements)-1].End]
	}
	if next, ok := wire.DecodeString(wire.Lookup(fields, "nextCursor").Of(raw)); ok && (p.Cursor == nil || next != *p.Cursor) {
		page.next = &next
	}
	return page, nil
}
