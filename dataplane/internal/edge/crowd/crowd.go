// SPDX-License-Identifier: Apache-2.0

// Package crowd counts what principals have open at gateways on one node, and says when it is too much (mcp.md §2.1).
//
// edge uses it. It must never know requests or sessions: those are numbers to it.
package crowd

import (
	"sync"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Crowd counts. It is safe for concurrent use. Keys and values are plain values, so that a count that comes and goes
// allocates nothing.
type Crowd struct {
	limit Count

	mu     sync.Mutex
	counts map[Seat]Count
}

// Seat is a principal at a gateway.
type Seat struct {
	Gateway string // uid
	Kind    ident.Kind
	UID     string // of the principal
}

// Count is how many requests and streams are open.
type Count struct {
	Requests, Streams int
}

// New returns an empty crowd in which nobody may have more open than limit.
func New(limit Count) *Crowd { return &Crowd{limit: limit, counts: make(map[Seat]Count)} }

// Enter counts one more request or stream and reports whether it is within the limits; if not, nothing is counted.
func (c *Crowd) Enter(s Seat, more Count) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[s]
	n.Requests += more.Requests
	n.Streams += more.Streams
	if n.Requests > c.limit.Requests || n.Streams > c.limit.Streams {
		return false
	}
	c.counts[s] = n
	return true
}

// Leave takes back what Enter counted.
func (c *Crowd) Leave(s Seat, less Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.counts[s]
	n.Requests -= less.Requests
	n.Streams -= less.Streams
	if n == (Count{}) {
		delete(c.counts, s)
		return
	}
	c.counts[s] = n
}
