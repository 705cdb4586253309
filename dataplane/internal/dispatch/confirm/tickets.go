// SPDX-License-Identifier: Apache-2.0

package confirm

import (
	"crypto/rand"
	"sync"
	"time"
)

// maxTickets bounds the tickets that can be used at one time.
const maxTickets = 10_000

// NewID returns an ID.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // crypto/rand never fails: it ends the process instead
	return id
}

// Tickets are the states of calls that were approved and go on: each is good once, or an approval would be good for more than one call.
// They live in the node that runs the call, and end with it. The zero value is ready.
type Tickets struct {
	mu    sync.Mutex
	live  map[ID]struct{}
	queue []issued // the oldest first; used ones stay until their time
}

type issued struct {
	id      ID
	expires time.Time
}

// Issue makes a ticket that is good for [Life]. ok is false if too many are.
func (t *Tickets) Issue(now time.Time) (id ID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 && !now.Before(t.queue[0].expires) {
		delete(t.live, t.queue[0].id)
		t.queue = t.queue[1:]
	}
	if len(t.queue) >= maxTickets {
		return id, false
	}
	if t.live == nil {
		t.live = make(map[ID]struct{})
	}
	id = NewID()
	t.live[id] = struct{}{}
	t.queue = append(t.queue, issued{id, now.Add(Life)})
	return id, true
}

// Good reports whether a ticket can be used.
func (t *Tickets) Good(id ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.live[id]
	return ok
}

// Claim uses a ticket, and reports whether it was good.
func (t *Tickets) Claim(id ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.live[id]
	delete(t.live, id)
	return ok
}
