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

	assigned map[string]map[catalog.Key]*Entry // gateway → its assignments
}

// NewWorld returns an empty world.
func NewWorld() *World {
	return &World{Entries: make(map[catalog.Key]*Entry), assigned: make(map[string]map[catalog.Key]*Entry)}
}

// Set replaces what is under a key, nil for nothing.
func (w *World) Set(k catalog.Key, e *Entry) {
	if e == nil {
		delete(w.Entries, k)
	} else {
		w.Entries[k] = e
	}
	if k.Kind != catalog.KindAssignment {
		return
	}
	gateway := gatewayOf(k)
	list := w.assigned[gateway]
	switch {
	case e != nil && list == nil:
		w.assigned[gateway] = map[catalog.Key]*Entry{k: e}
	case e != nil:
		list[k] = e
	default:
		delete(list, k)
		if len(list) == 0 {
			delete(w.assigned, gateway)
		}
	}
}

// Clone returns a copy that shares the entries.
func (w *World) Clone() *World {
	c := &World{Entries: maps.Clone(w.Entries), assigned: make(map[string]map[catalog.Key]*Entry, len(w.assigned))}
	for gateway, list := range w.assigned {
		c.assigned[gateway] = maps.Clone(list)
	}
	return c
}

func gatewayOf(assignment catalog.Key) string {
	gateway, _, _ := strings.Cut(assignment.Name, "/")
	return gateway
}
