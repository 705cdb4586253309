// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/run"
)

// firstView is how long a node that starts lets its first clients wait for a configuration before it answers them that it
// has none. A balancer sends them as soon as the port is open.
const firstView = 5 * time.Second

// handover is how long a node that shuts down keeps what streams are to say whose clients it has sent to other nodes: they
// come back after a second, most of them at once.
const handover = 5 * time.Second

// serve serves MCP until ctx is canceled, then drains (M-95).
func (n *Node) serve(ctx context.Context, r *rooms, l net.Listener) error {
	n.awaitView(ctx, r)
	server := &http.Server{Handler: r.edge, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	server.RegisterOnShutdown(r.edge.Drain)
	defer context.AfterFunc(ctx, func() {
		n.draining.Store(true)
		r.edge.Drain()
		r.forwarding.drain(ctx)
	})()
	err := run.LameDuck("mcp", l, server, n.c.Shutdown.Grace, n.c.Shutdown.Drain).Run(ctx)
	r.forwarding.settle()
	r.sessions.Settle(handover)
	return err
}

// awaitView returns when there is a view, and not later than firstView. Connections wait in the listener meanwhile.
func (*Node) awaitView(ctx context.Context, r *rooms) {
	over := time.NewTimer(firstView)
	defer over.Stop()
	for {
		changed := r.holder.Changed()
		if r.holder.Load() != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-changed:
		}
	}
}
