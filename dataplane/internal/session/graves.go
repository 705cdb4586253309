// SPDX-License-Identifier: Apache-2.0

package session

import (
	"sync"
	"time"
)

// maxGraves bounds the memory of [graves] to about 6 MiB.
const maxGraves = 1 << 16

// graves are the tombstones that this node knows of: they count when the store is away, or has forgotten (M-88). Beyond
// 65,536 the oldest is forgotten early, which lets the owner of that session go on with it until its id expires: no harm,
// since an id authenticates nobody. The zero value is ready.
type graves struct {
	mu    sync.Mutex
	notes map[UID]grave
	order []UID // as noted; notes are looked up in it once they are too many
	limit int   // 0: maxGraves
}

type grave struct {
	until time.Time // when the session's id opens nowhere
	known bool      // by the store
}

// note notes that a session has ended, and whether the store knows that.
func (g *graves) note(id UID, until time.Time, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.notes[id]; ok {
		g.notes[id] = grave{old.until, old.known || known}
		return
	}
	if g.notes == nil {
		g.notes = make(map[UID]grave)
	}
	limit := g.limit
	if limit == 0 {
		limit = maxGraves
	}
	now := time.Now()
	for len(g.order) > 0 && (len(g.order) >= limit || !now.Before(g.notes[g.order[0]].until)) {
		delete(g.notes, g.order[0])
		g.order = g.order[1:]
	}
	g.notes[id] = grave{until, known}
	g.order = append(g.order, id)
}

// holds reports whether a session is known to have ended.
func (g *graves) holds(id UID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.notes[id]
	return ok
}

// untold returns the ends that the store does not know of.
func (g *graves) untold() map[UID]time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out map[UID]time.Time
	for id, n := range g.notes {
		if n.known {
			continue
		}
		if out == nil {
			out = make(map[UID]time.Time)
		}
		out[id] = n.until
	}
	return out
}
