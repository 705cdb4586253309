// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/dataplane/internal/upstream"
)

// openSessions makes the sessions of clients and returns what upstreams have for them: in Redis, for all nodes of the region
// (mcp.md §5); or, of a node that is alone, in its memory.
func (n *Node) openSessions(r *rooms, keys *seal.Keyset, name string) (upstream.Registry, error) {
	c := session.Config{Keys: keys, Store: memstate.NewSessions(), Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter, Node: name}
	var registry upstream.Registry
	if r.redis != nil {
		shared := redisstate.NewSessions(r.redis)
		c.Store, c.Fleet, registry = shared, shared, shared
	}
	var err error
	r.sessions, err = session.New(c)
	return registry, err
}

// openContexts makes what knows the untrusted contexts of all nodes, or of a node that is alone: those that it has seen since it
// started.
func (n *Node) openContexts(r *rooms, keys *seal.Keyset) (*taint.Tracker, error) {
	c := taint.Config{Store: memstate.NewContexts(), Keys: keys, Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter.Meter(tracerName)}
	if r.redis != nil {
		c.Store = redisstate.NewContexts(r.redis)
	}
	return taint.New(c)
}
