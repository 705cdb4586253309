// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// dialTimeout is how long one backend is tried; longer than that is as good as refused.
const dialTimeout = 2 * time.Second

// Balancer forwards connections until it is closed.
type Balancer struct {
	listener net.Listener
	backends []string
	stop     context.CancelFunc
	work     sync.WaitGroup

	mu     sync.Mutex
	next   int
	routes map[string][]Route // by the client's address, oldest first: the system gives addresses away again
	open   map[net.Conn]struct{}
	ended  bool
}

// Route is where a connection went. A connection that no backend took has none.
type Route struct {
	Backend string // host:port
	Opened  time.Time
	Ended   time.Time // zero while it is open
}

// New returns a balancer on a free loopback port before the backends, host:port each.
func New(ctx context.Context, backends ...string) (*Balancer, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // Close ends it, not the end of who made it
	b := &Balancer{
		listener: l, backends: backends, stop: stop, routes: map[string][]Route{}, open: map[net.Conn]struct{}{},
	}
	b.work.Go(func() { b.accept(ctx) })
	return b, nil
}

// Address is host:port of the balancer.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Close ends all connections and waits until nothing runs any more.
func (b *Balancer) Close() error {
	b.stop()
	err := b.listener.Close()
	b.mu.Lock()
	b.ended = true
	for c := range b.open {
		_ = c.Close() // it may be closed already
	}
	b.mu.Unlock()
	b.work.Wait()
	return err
}

// Route returns where the connection went that a client's address had at a time.
func (b *Balancer) Route(client string, at time.Time) (Route, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range slices.Backward(b.routes[client]) {
		if !r.Opened.After(at) {
			return r, true
		}
	}
	return Route{}, false
}

func (b *Balancer) accept(ctx context.Context) {
	for {
		client, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files: the connections that there are may go on
			continue
		}
		b.work.Go(func() { b.serve(ctx, client) })
	}
}

func (b *Balancer) serve(ctx context.Context, client net.Conn) {
	backend, ok := b.dial(ctx, client.RemoteAddr().String())
	if !ok || !b.hold(client, backend) {
		_ = client.Close() // nobody is there: as a balancer without a healthy backend does
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pipe(backend, client) })
	pipe(client, backend)
	both.Wait()
	b.release(client, backend)
}

// dial tries each backend once, from the next one on.
func (b *Balancer) dial(ctx context.Context, client string) (net.Conn, bool) {
	b.mu.Lock()
	first := b.next
	b.next++
	b.mu.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout}
	for i := range b.backends {
		to := b.backends[(first+i)%len(b.backends)]
		c, err := dialer.DialContext(ctx, "tcp", to)
		if err != nil {
			continue
		}
		b.mu.Lock()
		b.routes[client] = append(b.routes[client], Route{Backend: to, Opened: time.Now()})
		b.mu.Unlock()
		return c, true
	}
	return nil, false
}

func (b *Balancer) hold(conns ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range conns {
		if b.ended {
			_ = c.Close() // the balancer is gone
			continue
		}
		b.open[c] = struct{}{}
	}
	return !b.ended
}

func (b *Balancer) release(client, backend net.Conn) {
	_, _ = client.Close(), backend.Close() // an end may have done it
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, client)
	delete(b.open, backend)
	of := b.routes[client.RemoteAddr().String()]
	of[len(of)-1].Ended = time.Now()
}

// pipe copies until from ends. An orderly end is passed on, so that the other direction may finish; a reset is a reset.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil {
		if half, ok := to.(*net.TCPConn); ok && half.CloseWrite() == nil {
			return
		}
	}
	if hard, ok := to.(*net.TCPConn); ok {
		_ = hard.SetLinger(0) // best effort: the client then sees a reset, as without a balancer
	}
	_, _ = to.Close(), from.Close()
}
