// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/penstockhq/penstock/dataplane/internal/follow"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/node"
)

// member is one node of the fleet.
type member struct {
	name, region string
	client       *node.Client
	compiler     node.Applier // nil: the stub
	tracked      *tracked     // nil: it holds a state of its own
	delay        time.Duration
	slow         bool

	read, written atomic.Int64 // bytes on the wire, TLS included
	shaken        atomic.Int64 // of those read, what TLS handshakes took

	mu      sync.Mutex
	conns   []net.Conn // open ones, newest last
	reached []reached
	denied  []reached // by the fast lane
	full    int       // full states applied
}

// reached is when a node enforced a revision.
type reached struct {
	revision uint64
	at       time.Time
}

// nobody takes denials of a node without credentials and upstreams.
type nobody struct{}

// Denied implements follow.Denials.
func (nobody) Denied([]view.Key) {}

// Apply implements node.Applier.
func (m *member) Apply(ctx context.Context, s node.State, touched []node.Key, atomic bool) []node.Reject {
	if m.delay > 0 {
		pause(ctx, m.delay)
	}
	if m.tracked != nil {
		m.tracked.enforced(s.Epoch(), s.Revision())
	}
	var rejects []node.Reject
	if m.compiler != nil {
		rejects = m.compiler.Apply(ctx, s, touched, atomic)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if touched == nil {
		m.full++
	}
	m.reached = append(m.reached, reached{s.Revision(), time.Now()})
	return rejects
}

// Deny implements node.Applier.
func (m *member) Deny(ctx context.Context, revision uint64, keys []node.Key) {
	if m.compiler != nil {
		m.compiler.Deny(ctx, revision, keys)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied = append(m.denied, reached{revision, time.Now()})
}

// status is what the client knows of itself, with the state that it has been relieved of.
func (m *member) status() node.Status {
	s := m.client.Status()
	if m.tracked != nil {
		s.Epoch, s.Revision, s.Digest = m.tracked.at()
	}
	return s
}

// newMember makes the n-th node. The first nodes have the real compiler and a state of their own.
func newMember(c Config, a *authority, p *pool, n int) (*member, error) {
	m := &member{name: fmt.Sprintf("sim-%05d", n), region: c.Regions[n%len(c.Regions)], delay: c.ApplyDelay}
	m.slow = float64(n%100) < 100*c.Slow && n >= c.Real
	if n < c.Real {
		m.compiler = follow.New(view.NewHolder(), nobody{})
	}
	config, err := a.config(m.name, m.region)
	if err != nil {
		return nil, fmt.Errorf("make node %s: %w", m.name, err)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(handshakes{credentials.NewTLS(config), m}), grpc.WithContextDialer(m.dial),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
	}
	if m.compiler == nil {
		m.tracked = &tracked{pool: p, first: n}
		options = append(options, grpc.WithStreamInterceptor(m.tracked.intercept))
	}
	m.client, err = node.New(node.Config{
		Endpoints: c.Endpoints, Applier: m, Build: "nodesim", Capabilities: follow.Features(), Log: c.Log, DialOptions: options,
	})
	if err != nil {
		return nil, fmt.Errorf("make node %s: %w", m.name, err)
	}
	return m, nil
}

// bufferSize of a connection: a thousand of them share one process.
const bufferSize = 4 << 10

func (m *member) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	conn = countedConn{conn, m}
	if m.slow {
		conn = slowConn{conn}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = append(m.conns, conn)
	if len(m.conns) > 2 {
		m.conns = slices.Clone(m.conns[len(m.conns)-2:])
	}
	return conn, nil
}

// flap breaks the node's connection, as a network does.
func (m *member) flap() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close() // perhaps closed already
	}
	m.conns = nil
}

// countedConn counts what its node reads and writes.
type countedConn struct {
	net.Conn

	of *member
}

// Read implements net.Conn.
func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.of.read.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.of.written.Add(int64(n))
	return n, err
}

// handshakes counts what TLS handshakes read.
type handshakes struct {
	credentials.TransportCredentials

	of *member
}

// ClientHandshake implements credentials.TransportCredentials.
func (h handshakes) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	before := h.of.read.Load() // a node makes one connection at a time
	secured, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, conn)
	h.of.shaken.Add(h.of.read.Load() - before)
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.of}
}

// slowConn reads about 40 KB a second.
type slowConn struct{ net.Conn }

// Read implements net.Conn.
func (c slowConn) Read(b []byte) (int, error) {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	<-t.C
	return c.Conn.Read(b[:min(len(b), bufferSize)])
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
