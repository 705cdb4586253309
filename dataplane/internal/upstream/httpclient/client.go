// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config makes a [Client].
type Config struct {
	// Dial opens a connection; required. In production it is the guarded
	// dialer of kit/egress.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// TLS is the client side configuration for https; nil means defaults. The
	// server name is set per connection.
	TLS *tls.Config
	// DialTimeout bounds dialing with the TLS handshake. Default 5 s.
	DialTimeout time.Duration
	// IdleTimeout is how long an unused connection is kept. Default 90 s.
	IdleTimeout time.Duration
	// EndTimeout is how long a released answer may take to end; then, and at
	// the latest after twice that time, its connection is closed, so that no
	// server keeps a stream open that nobody reads. Default 1 s.
	EndTimeout time.Duration
	// MaxPerHost bounds connections in use for one pool name and host; more
	// requests wait. Default 512.
	MaxPerHost int
	// MaxIdlePerHost bounds connections kept. Default 128.
	MaxIdlePerHost int
	// MaxHeaderBytes bounds the head of an answer. Default 64 KiB.
	MaxHeaderBytes int
}

// Client sends requests over pooled connections. It is safe for concurrent
// use.
type Client struct {
	cfg    Config
	dials  atomic.Int64
	closed atomic.Bool

	mu    sync.RWMutex
	pools map[poolKey]*pool
}

// New checks the configuration and returns a Client. It starts nothing; its
// owner calls [Client.Sweep] and at the end [Client.Close].
func New(cfg Config) (*Client, error) {
	if cfg.Dial == nil {
		return nil, errors.New("http client: Dial is required")
	}
	if cfg.DialTimeout < 0 || cfg.IdleTimeout < 0 || cfg.EndTimeout < 0 || cfg.MaxPerHost < 0 || cfg.MaxIdlePerHost < 0 || cfg.MaxHeaderBytes < 0 {
		return nil, errors.New("http client: limits must not be negative")
	}
	if cfg.TLS == nil {
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	cfg.TLS = cfg.TLS.Clone()
	cfg.TLS.NextProtos = []string{"http/1.1"}
	def(&cfg.DialTimeout, 5*time.Second)
	def(&cfg.IdleTimeout, 90*time.Second)
	def(&cfg.EndTimeout, time.Second)
	def(&cfg.MaxPerHost, 512)
	def(&cfg.MaxIdlePerHost, 128)
	def(&cfg.MaxHeaderBytes, 64<<10)
	return &Client{cfg: cfg, pools: make(map[poolKey]*pool)}, nil
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Sweep closes connections that idle longer than IdleTimeout. The owner calls it
// now and then, twice in an IdleTimeout, say; without it only a use of the
// connection would find out.
func (c *Client) Sweep() { c.sweep(time.Now().Add(-c.cfg.IdleTimeout)) }

// Close closes idle connections, and others when their request ends. Requests
// that come later fail with [ErrClosed].
func (c *Client) Close() {
	c.closed.Store(true)
	c.sweep(time.Now().Add(c.cfg.IdleTimeout))
}

// sweep closes connections idle since before the given time and forgets pools
// that nobody uses.
func (c *Client) sweep(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, p := range c.pools {
		if p.sweep(before) {
			delete(c.pools, key)
		}
	}
}

// Stats are counts for metrics.
type Stats struct {
	// Idle and Active are connections at this moment, Dials those opened
	// since the start.
	Idle, Active int
	Dials        int64
}

// Stats returns the present counts.
func (c *Client) Stats() Stats {
	s := Stats{Dials: c.dials.Load()}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, p := range c.pools {
		s.Active += len(p.slots)
		p.mu.Lock()
		s.Idle += len(p.idle)
		p.mu.Unlock()
	}
	return s
}

// Do sends r and returns the answer once its head is read. Any status is an
// answer. The context governs the exchange until the Response is closed. Every
// error is an *[Error].
func (c *Client) Do(ctx context.Context, r *Request) (*Response, error) {
	if r.err != nil {
		return nil, &Error{Op: "request", Err: r.err}
	}
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "request", Err: err}
	}
	p, err := c.acquire(ctx, r)
	if err != nil {
		return nil, err
	}
	for {
		cn, used, err := c.connection(ctx, p, r)
		if err != nil {
			p.release()
			return nil, failure(ctx, "dial", false, err)
		}
		resp, sent, err := c.exchange(ctx, cn, r)
		if err == nil {
			return resp, nil
		}
		cn.close()
		// Only a pooled connection that took no byte is worth another one.
		if !used || sent || ctx.Err() != nil {
			p.release()
			return nil, err
		}
	}
}

// acquire returns the pool for r with a slot taken.
func (c *Client) acquire(ctx context.Context, r *Request) (*pool, error) {
	for {
		if c.closed.Load() {
			return nil, &Error{Op: "request", Err: ErrClosed}
		}
		p := c.pool(poolKey{r.pool, r.to.addr, r.to.secure})
		if err := p.acquire(ctx, r.Deadline); err != nil {
			return nil, failure(ctx, "wait", false, err)
		}
		if !p.isDead() {
			return p, nil
		}
		p.release()
	}
}

func (c *Client) pool(key poolKey) *pool {
	c.mu.RLock()
	p := c.pools[key]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p = c.pools[key]; p == nil {
		p = &pool{client: c, slots: make(chan struct{}, c.cfg.MaxPerHost)}
		c.pools[key] = p
	}
	return p
}

// connection returns an idle connection that is fit for use, or a new one.
func (c *Client) connection(ctx context.Context, p *pool, r *Request) (cn *conn, used bool, err error) {
	for {
		cn := p.get()
		if cn == nil {
			break
		}
		if cn.usable(r.Deadline) {
			return cn, true, nil
		}
		cn.close()
	}
	cn, err = c.dial(ctx, p, r)
	return cn, false, err
}

func (c *Client) dial(ctx context.Context, p *pool, r *Request) (*conn, error) {
	by := time.Now().Add(c.cfg.DialTimeout)
	if !r.Deadline.IsZero() && r.Deadline.Before(by) {
		by = r.Deadline
	}
	dialing, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	c.dials.Add(1)
	raw, err := c.cfg.Dial(dialing, "tcp", r.to.addr)
	if err != nil {
		return nil, err
	}
	nc := raw
	if r.to.secure {
		cfg := c.cfg.TLS.Clone()
		cfg.ServerName = r.to.name
		secured := tls.Client(raw, cfg)
		if err := secured.HandshakeContext(dialing); err != nil {
			_ = raw.Close()
			return nil, err
		}
		nc = secured
	}
	if err := nc.SetDeadline(r.Deadline); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return newConn(nc, raw, p, r.to.secure), nil
}

// exchange writes the request and reads the head of the answer.
func (c *Client) exchange(ctx context.Context, cn *conn, r *Request) (resp *Response, sent bool, err error) {
	resp = &Response{c: cn, ctx: ctx}
	cn.early, cn.soon, cn.deadline = resp, time.Now().Add(atOnce), r.Deadline
	if !r.short() {
		resp.watch()
	}
	if sent, err = cn.send(r); err != nil {
		err = failure(ctx, "write", sent, err)
	} else if err = cn.answer(resp, c.cfg.MaxHeaderBytes); err != nil {
		err = failure(ctx, "head", true, err)
	}
	if err != nil {
		cn.early = nil
		if resp.stop != nil {
			resp.stop()
		}
		return nil, sent, err
	}
	return resp, true, nil
}

type poolKey struct {
	name, addr string
	secure     bool
}

// pool holds the connections for one pool name and host.
type pool struct {
	client *Client
	slots  chan struct{} // one for each exchange

	mu      sync.Mutex
	idle    []*conn // the newest last
	dead    bool    // no longer in the client's map
	late    *time.Timer
	waiting bool // late runs, for connections whose last answer has not ended
}

// acquire takes a slot and waits for one if all are taken.
func (p *pool) acquire(ctx context.Context, deadline time.Time) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) release() { <-p.slots }

func (p *pool) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// get takes the most recently used idle connection, nil if there is none.
func (p *pool) get() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle) - 1
	if n < 0 {
		return nil
	}
	c := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	return c
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	keep := !p.dead && len(p.idle) < p.client.cfg.MaxIdlePerHost && !p.client.closed.Load()
	if keep {
		c.since = time.Now()
		p.idle = append(p.idle, c)
		if c.tail != nil && !p.waiting {
			p.lookLater()
		}
	}
	p.mu.Unlock()
	if !keep {
		c.close()
	}
}

// lookLater has settle called after EndTimeout. One timer serves all connections:
// one for each call would cost more than the rest of this file. The caller holds
// mu.
func (p *pool) lookLater() {
	p.waiting = true
	if p.late == nil {
		p.late = time.AfterFunc(p.client.cfg.EndTimeout, p.settle)
		return
	}
	p.late.Reset(p.client.cfg.EndTimeout)
}

// settle closes idle connections whose last answer should have ended by now and
// has not.
func (p *pool) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, young := time.Now().Add(-p.client.cfg.EndTimeout), false
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		switch {
		case c.tail == nil:
			return false
		case c.since.After(before):
			young = true
			return false
		case !c.silent() && c.ended():
			return false
		}
		c.close()
		return true
	})
	if p.waiting = young; young {
		p.lookLater()
	}
}

// sweep closes connections idle since before the given time and reports
// whether the pool is of no more use.
func (p *pool) sweep(before time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].since.Before(before) {
		p.idle[n].close()
		n++
	}
	kept := copy(p.idle, p.idle[n:])
	clear(p.idle[kept:])
	p.idle = p.idle[:kept]
	p.dead = kept == 0 && len(p.slots) == 0
	return p.dead
}
