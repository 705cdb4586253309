// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// defaultConcurrent is how many requests may be under way to one peer.
const defaultConcurrent = 4096

// ClientConfig is what a [Client] needs.
type ClientConfig struct {
	Registry *Registry
	Self     ident.Workload // of this node: peers are of its trust domain and region
	TLS      tlsx.Source
	// Refuse returns a fault for a peer that was banned; nil refuses nobody.
	Refuse     func(ident.Workload) error
	Log        *slog.Logger
	Meter      metric.MeterProvider
	Concurrent int64 // requests under way to one peer; 0 is 4,096
}

// Client forwards requests. It is safe for concurrent use.
type Client struct {
	cfg     ClientConfig
	tls     *tls.Config
	counter metric.Int64Counter

	mu    sync.Mutex
	peers map[string]*peer
}

// NewClient returns a client without connections. The faults are those of tlsx.Client.
func NewClient(c ClientConfig) (*Client, error) {
	if c.Registry == nil || c.Log == nil || c.Meter == nil || c.TLS == nil || c.Self.Role != ident.RoleNode {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "forwarding needs all parts of its Config")
	}
	if c.Refuse == nil {
		c.Refuse = func(ident.Workload) error { return nil }
	}
	if c.Concurrent == 0 {
		c.Concurrent = defaultConcurrent
	}
	config, err := tlsx.Client(c.TLS, c.Self.TrustDomain, ident.RoleNode)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS to other nodes: %w", err)
	}
	out := &Client{cfg: c, tls: config, peers: make(map[string]*peer)}
	out.counter, err = c.Meter.Meter("github.com/penstockhq/penstock/dataplane/internal/forward").Int64Counter(
		obs.MetricForwarded, metric.WithUnit("{request}"), metric.WithDescription("Requests that other nodes had to answer, by reason and outcome."))
	if err != nil {
		return nil, fmt.Errorf("make instruments: %w", err)
	}
	return out, nil
}

// Close ends the connections that nobody uses.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.peers {
		p.transport.CloseIdleConnections()
		delete(c.peers, name)
	}
	return nil
}

// Elsewhere reports whether a name is that of another node, be it known or not.
func (c *Client) Elsewhere(node string) bool { return node != "" && node != c.cfg.Self.Name }

// Request is one that another node is to answer.
type Request struct {
	Node       string
	Why        string
	GatewayUID string
	Principal  ident.Principal
	// Passed are headers of the client that the gateway hands to servers, in canonical form (G-40).
	Passed http.Header
	Body   []byte // as the client sent it; read until Forward returns
	// Unwanted, if not nil, says which statuses of the answer are not for the client.
	Unwanted func(status int) bool
}

// Forward has another node answer r, which is of a client of this node, and passes the answer on to w as it comes. The
// Authorization header and all others that are neither of MCP nor passed stay here. When r's context ends, the other node is told. The
// status is the answer's, 0 if there is none.
//
// With an error nothing was sent to the client, but for PEER_BROKEN. Faults have the reasons of this package, or are
// Canceled when the client has left.
func (c *Client) Forward(w http.ResponseWriter, r *http.Request, d Request) (status int, err error) {
	status, err = c.forward(w, r, d)
	c.counter.Add(r.Context(), 1, metric.WithAttributes(attribute.String("reason", d.Why), attribute.String("outcome", outcome(err))))
	if err != nil && fault.KindOf(err) != fault.Canceled {
		c.cfg.Log.DebugContext(r.Context(), "request not forwarded", slog.String(obs.AttrNode, d.Node), obs.Fault(err))
	}
	return status, err
}

// outcome is the label of the metric: few values.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	f := fault.From(err)
	if f.Kind == fault.Canceled {
		return "canceled"
	}
	return strings.ToLower(strings.TrimPrefix(f.Reason, "PEER_"))
}

func (c *Client) forward(w http.ResponseWriter, r *http.Request, d Request) (status int, err error) {
	if _, twice := r.Context().Value(hop{}).(hop); twice {
		return 0, fault.New(fault.Bug, ReasonSecondHop, "A forwarded request is not forwarded again.")
	}
	n, ok := c.cfg.Registry.Find(r.Context(), d.Node)
	if !ok {
		c.forget(d.Node)
		return 0, unknown()
	}
	if n.Draining && !held(d.Why) {
		return 0, draining()
	}
	p := c.peer(n)
	done, release, err := p.allow(c.cfg.Concurrent)
	if err != nil {
		return 0, err
	}
	defer release()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	resp, err := c.send(ctx, p, r, d)
	done(err)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if reason := resp.Header.Get(headerFault); reason != "" {
		return 0, refusal(reason, resp.StatusCode)
	}
	if d.Unwanted != nil && d.Unwanted(resp.StatusCode) {
		return 0, refused(fmt.Errorf("status %d", resp.StatusCode))
	}
	return resp.StatusCode, relay(w, r, resp)
}

// send returns the answer as soon as its head is there.
func (c *Client) send(ctx context.Context, p *peer, r *http.Request, d Request) (*http.Response, error) {
	var sent, first atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) }, GotConn: func(i httptrace.GotConnInfo) { first.Store(!i.Reused) },
	})
	target := "https://" + p.node.Address + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	// A copy: the transport may read it for a moment longer than Forward takes.
	//nolint:gosec // whatever the address: only the node of that SPIFFE id is spoken to
	out, err := http.NewRequestWithContext(traced, r.Method, target, bytes.NewReader(bytes.Clone(d.Body)))
	if err != nil {
		return nil, refused(err)
	}
	out.Header = outgoing(r.Header)
	maps.Copy(out.Header, d.Passed)
	out.Header.Set(headerFrom, c.cfg.Self.Name)
	out.Header.Set(headerWhy, d.Why)
	out.Header.Set(headerGateway, d.GatewayUID)
	out.Header.Set(headerPrincipal, encodePrincipal(d.Principal))
	resp, err := p.transport.RoundTrip(out)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return nil, gone(ctx)
	case sent.Load() && (!first.Load() || !isAlert(err)):
		return nil, lost(err)
	}
	return nil, unreachable(err)
}

// isAlert reports whether an error is a TLS alert of the peer. Where it does not like our certificate, TLS 1.3 lets it say so
// only after the first request was written; it has not read that then.
func isAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// refusal is the fault of an answer that the receiving room gave, and not the edge behind it.
func refusal(reason string, status int) error {
	switch reason {
	case ReasonDraining:
		return draining()
	case ReasonBusy:
		return busy()
	}
	return refused(fmt.Errorf("the node says %d %.64q", status, reason))
}

// passes reports whether a request's header is MCP's, or says how the body is written. The token is none of them.
func passes(name string) bool {
	switch name {
	case "Accept", "Content-Type", "Last-Event-Id", "Traceparent", "Tracestate", "User-Agent":
		return true
	}
	return strings.HasPrefix(name, "Mcp-")
}

func outgoing(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if passes(name) {
			out[name] = values
		}
	}
	return out
}

// peer returns the way to a node. That of an earlier process, and those to nodes that are gone, are forgotten.
func (c *Client) peer(n Node) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[n.Name]; p != nil && p.isCurrent(n) {
		return p
	}
	known := make(map[string]bool)
	for _, other := range c.cfg.Registry.Others() {
		known[other.Name] = true
	}
	for name, p := range c.peers {
		if name == n.Name || !known[name] {
			p.transport.CloseIdleConnections()
			delete(c.peers, name)
		}
	}
	want := c.cfg.Self
	want.Name = n.Name
	p := newPeer(n, c.tls, want, c.cfg.Refuse)
	c.peers[n.Name] = p
	return p
}

func (c *Client) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[name]; p != nil {
		p.transport.CloseIdleConnections()
		delete(c.peers, name)
	}
}

// isEnd reports whether an error says that the answer is complete.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
