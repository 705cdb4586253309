// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch"
	"github.com/penstockhq/penstock/dataplane/internal/edge"
	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
	"github.com/penstockhq/penstock/dataplane/internal/redisstate"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// ForwardSettings say where other nodes of the region reach this one (M-93). Without Redis, and without a certificate of its
// own, a node is alone: nothing is listened on.
type ForwardSettings struct {
	Listen  string `name:"listen" default:"127.0.0.1:8084" port:"shift" help:"where other nodes forward requests to (mutual TLS); off without redis.url; empty is off"`
	Address string `name:"address" help:"host:port that other nodes dial; empty takes forward.listen"`
}

// endpoint returns what other nodes dial. bound is the address of the listener. The fault is Invalid,
// DATAPLANE_CONFIG_INVALID.
func (s ForwardSettings) endpoint(bound net.Addr) (string, error) {
	address := s.Address
	if address == "" {
		address = bound.String()
	}
	host, port, err := net.SplitHostPort(address)
	wrong := func(path, problem string) error {
		return fault.New(fault.Invalid, ReasonConfig, "The settings of the node cannot be used.").At(path, problem)
	}
	switch ip := net.ParseIP(host); {
	case err != nil || host == "" || port == "" || port == "0":
		return "", wrong("forward.address", "is not host:port")
	case ip != nil && ip.IsUnspecified():
		return "", wrong("forward.address", "is no address that other nodes can dial: set it to one of this machine")
	}
	return address, nil
}

// forwarding is how the nodes of a region reach each other; nil in a node that is alone.
type forwarding struct {
	registry *forward.Registry
	client   *forward.Client
	server   *forward.Server
	homes    *home.Table
	listener net.Listener
	held     func() int // calls that wait here for answers
	within   time.Duration
	deadline atomic.Int64 // of the drain, UnixNano; 0 before that
}

// openForwarding listens for other nodes. It returns nil where there are none: without Redis, or without a name.
func (n *Node) openForwarding(r *rooms, self ident.Workload, closers *run.Closers) (*forwarding, error) {
	if r.redis == nil || self.Role != ident.RoleNode || n.c.Forward.Listen == "" {
		return nil, nil //nolint:nilnil // alone
	}
	l, err := run.Listen(n.c.Forward.Listen, "forward.listen")
	if err != nil {
		return nil, err
	}
	closers.Add("forward.listen", func(context.Context) error { return closeListener(l) })
	address, err := n.c.Forward.endpoint(l.Addr())
	if err != nil {
		return nil, err
	}
	f := &forwarding{listener: l, within: n.c.Shutdown.Drain}
	t := n.c.Telemetry
	if n.c.SealKeyset == "" {
		t.Log.Warn("seal_keyset is not set: no other node opens the ids that this one gives to clients", obs.AttrSetting, "seal_keyset")
	}
	f.registry = forward.NewRegistry(redisstate.NewNodes(r.redis), forward.Node{
		Name: self.Name, Address: address, Generation: uint64(time.Now().UnixNano()),
	}, t.Log)
	f.homes = home.New(redisstate.NewHomes(r.redis), self.Name, t.Log)
	refuse := refuseBanned(r.holder)
	f.client, err = forward.NewClient(forward.ClientConfig{
		Registry: f.registry, Self: self, TLS: n.identity.source, Refuse: refuse, Log: t.Log, Meter: t.Meter,
	})
	if err != nil {
		return nil, err
	}
	closers.Add("forward client", func(context.Context) error { return f.client.Close() })
	f.server, err = forward.NewServer(forward.ServerConfig{
		Self: self, TLS: n.identity.source, Refuse: refuse, Log: t.Log, Draining: n.draining.Load,
		Serve: func(w http.ResponseWriter, q *http.Request, c forward.Carried) {
			r.edge.ServeForwarded(w, q, c.GatewayUID, c.Principal) // made before anything is served
		},
	})
	return f, err
}

// whereabouts are where processes live; nil in a node that is alone.
func (f *forwarding) whereabouts() dispatch.Homes {
	if f == nil {
		return nil
	}
	return f.homes
}

// offer tells edge of the other nodes.
func (f *forwarding) offer(c *edge.Config, between *bridge.Bridge, calls *dispatch.Dispatcher) {
	if f == nil {
		return
	}
	c.Peers, c.Held, c.Home, f.held = peers{f.client}, goesOnAt(between, calls), calls.Home, between.Held
}

// tasks are what runs until calls have been finished.
func (f *forwarding) tasks() []run.Task {
	if f == nil {
		return nil
	}
	return []run.Task{
		{Name: "node registry", Run: f.registry.Run},
		{Name: "homes", Run: f.homes.Run},
		run.HTTPServer("forward", f.listener, f.server.HTTP(), forwardDrain),
	}
}

// forwardDrain is how long answers to other nodes may take when nothing is left that clients of this one wait for.
const forwardDrain = 5 * time.Second

// drain tells the others that this node shuts down, and that processes are to live elsewhere from now on.
func (f *forwarding) drain(ctx context.Context) {
	if f != nil {
		f.deadline.Store(time.Now().Add(f.within).UnixNano())
		f.registry.Drain()
		f.homes.Drain(context.WithoutCancel(ctx))
	}
}

// settle waits until no call is held here any more, or until the deadline of the drain: others still bring the answers
// (M-95). Clients of this node itself have all been served by then.
func (f *forwarding) settle() {
	if f == nil || f.held == nil || f.deadline.Load() == 0 {
		return
	}
	late := time.NewTimer(time.Until(time.Unix(0, f.deadline.Load())))
	defer late.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for f.held() > 0 {
		select {
		case <-late.C:
			return
		case <-tick.C:
		}
	}
}

// live returns how many nodes the region has, this one included.
func (f *forwarding) live() int {
	if f == nil {
		return 1
	}
	return f.registry.Live()
}

// peers gives edge the other nodes.
type peers struct{ client *forward.Client }

// Elsewhere implements edge.Peers.
func (p peers) Elsewhere(node string) bool { return p.client.Elsewhere(node) }

// Forward implements edge.Peers.
func (p peers) Forward(w http.ResponseWriter, r *http.Request, d edge.Detour) (int, error) {
	return p.client.Forward(w, r, forward.Request{
		Node: d.Node, Why: d.Why, GatewayUID: d.GatewayUID, Principal: d.Principal, Passed: d.Passed, Body: d.Body, Unwanted: d.Unwanted,
	})
}

// openShared makes what this node shares with others, and returns its name: the one in its certificate, or a random one
// where it has none and is alone.
func (n *Node) openShared(r *rooms, closers *run.Closers) (name string, err error) {
	self, err := n.identity.workload()
	if err != nil {
		return "", fmt.Errorf("read the name of this node: %w", err)
	}
	if n.c.Redis.Enabled() {
		if r.redis, err = redisx.Open(n.c.Redis, redisx.Config{Log: n.c.Telemetry.Log, Meter: n.c.Telemetry.Meter}); err != nil {
			return "", fmt.Errorf("set up redis: %w", err)
		}
		closers.Add("redis", func(context.Context) error { return r.redis.Close() })
	}
	if r.forwarding, err = n.openForwarding(r, self, closers); err != nil {
		return "", err
	}
	return cmp.Or(self.Name, rand.Text()), nil
}
