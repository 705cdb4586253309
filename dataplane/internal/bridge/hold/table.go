// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// Limits bound what is held (mcp.md §2.1); zero fields take the defaults.
type Limits struct {
	Life         time.Duration // how long a client may take to answer; 10 min
	PerPrincipal int           // 16
	PerNode      int           // 4,096
}

// Table holds calls until their clients come back. Make it with [NewTable]. It is safe for concurrent use.
type Table struct {
	limits Limits

	mu       sync.Mutex
	held     map[[16]byte]*entry
	of       map[string]int // by principal
	draining bool
}

type entry struct {
	call      *Call
	principal string
	timer     *time.Timer
}

// Ticket is what a client needs to come back.
type Ticket struct {
	ID      [16]byte
	Expires time.Time
}

// The reasons why a held call ends.
var (
	errExpired  = errors.New("the client did not answer in time")
	errDraining = errors.New("the node shuts down")
	// ErrRefused is for calls that could not be held.
	ErrRefused = errors.New("too many calls wait for answers")
)

// NewTable returns an empty table.
func NewTable(l Limits) *Table {
	if l.Life == 0 {
		l.Life = 10 * time.Minute
	}
	if l.PerPrincipal == 0 {
		l.PerPrincipal = 16
	}
	if l.PerNode == 0 {
		l.PerNode = 4096
	}
	return &Table{limits: l, held: make(map[[16]byte]*entry), of: make(map[string]int)}
}

// Put holds a call for its client, who is of the principal, for the time in the ticket; after that the call is
// abandoned. ok is false if too many are held already, or the node shuts down: the call was abandoned then.
func (t *Table) Put(principal string, c *Call) (ticket Ticket, ok bool) {
	_, _ = rand.Read(ticket.ID[:]) // crypto/rand never fails: it ends the process instead
	t.mu.Lock()
	if t.draining || len(t.held) >= t.limits.PerNode || t.of[principal] >= t.limits.PerPrincipal {
		t.mu.Unlock()
		c.Abandon(ErrRefused)
		return Ticket{}, false
	}
	ticket.Expires = time.Now().Add(t.limits.Life)
	t.of[principal]++
	t.held[ticket.ID] = &entry{call: c, principal: principal, timer: time.AfterFunc(t.limits.Life, func() {
		if c := t.Claim(ticket.ID); c != nil {
			c.Abandon(errExpired)
		}
	})}
	t.mu.Unlock()
	return ticket, true
}

// Claim takes a held call out of the table; nil if there is none: it was claimed before, or has expired.
func (t *Table) Claim(id [16]byte) *Call {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.held[id]
	if e == nil {
		return nil
	}
	t.take(id, e)
	return e.call
}

func (t *Table) take(id [16]byte, e *entry) {
	e.timer.Stop()
	delete(t.held, id)
	if t.of[e.principal]--; t.of[e.principal] == 0 {
		delete(t.of, e.principal)
	}
}

// Len returns how many calls are held.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.held)
}

// Drain abandons all held calls and takes no more (M-95).
func (t *Table) Drain() {
	t.mu.Lock()
	t.draining = true
	var all []*Call
	for id, e := range t.held {
		t.take(id, e)
		all = append(all, e.call)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.Abandon(errDraining)
	}
}
