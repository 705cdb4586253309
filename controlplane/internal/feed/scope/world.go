// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"maps"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// World is all resources at one revision. It is not safe for concurrent use.
type World struct {
	Entries map[catalog.Key]*Entry // read only: Set keeps an index beside it

	assigned  map[string]map[catalog.Key]*Entry // gateway → its assignments
	installed map[string]map[catalog.Key]*Entry // server → its connections
}

// NewWorld returns an empty world.
func NewWorld() *World {
	return &World{
		Entries: make(map[catalog.Key]*Entry), assigned: make(map[string]map[catalog.Key]*Entry), installed: make(map[string]map[catalog.Key]*Entry),
	}
}

// Set replaces what is under a key, nil for nothing.
func (w *World) Set(k catalog.Key, e *Entry) {
	before := w.Entries[k]
	if e == nil {
		delete(w.Entries, k)
	} else {
		w.Entries[k] = e
	}
	if k.Kind == catalog.KindAssignment {
		index(w.assigned, gatewayOf(k), k, e)
	}
	if k.Kind == catalog.KindConnection {
		if before != nil && (e == nil || e.server != before.server) {
			index(w.installed, before.server, k, nil)
		}
		if e != nil {
			index(w.installed, e.server, k, e)
		}
	}
}

// index puts an entry under a name in an index, or takes it out if it is nil.
func index(in map[string]map[catalog.Key]*Entry, name string, k catalog.Key, e *Entry) {
	list := in[name]
	switch {
	case e != nil && list == nil:
		in[name] = map[catalog.Key]*Entry{k: e}
	case e != nil:
		list[k] = e
	default:
		delete(list, k)
		if len(list) == 0 {
			delete(in, name)
		}
	}
}

// Clone returns a copy that shares the entries.
func (w *World) Clone() *World {
	return &World{Entries: maps.Clone(w.Entries), assigned: cloneIndex(w.assigned), installed: cloneIndex(w.installed)}
}

func cloneIndex(in map[string]map[catalog.Key]*Entry) map[string]map[catalog.Key]*Entry {
	c := make(map[string]map[catalog.Key]*Entry, len(in))
	for name, list := range in {
		c[name] = maps.Clone(list)
	}
	return c
}

func gatewayOf(assignment catalog.Key) string {
	gateway, _, _ := strings.Cut(assignment.Name, "/")
	return gateway
}
