// SPDX-License-Identifier: Apache-2.0

package forward_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "penstock.test"

func workload(name string) ident.Workload {
	return ident.Workload{TrustDomain: domain, Region: "eu", Role: ident.RoleNode, Name: name}
}

// board is a store that can be taken away.
type board struct {
	mu    sync.Mutex
	nodes map[string]forward.Node
	reads int
	err   error
}

func (b *board) Announce(_ context.Context, n forward.Node, _ time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	if b.nodes == nil {
		b.nodes = make(map[string]forward.Node)
	}
	b.nodes[n.Name] = n
	return nil
}

func (b *board) Withdraw(_ context.Context, n forward.Node) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.nodes, n.Name)
	return b.err
}

func (b *board) Nodes(context.Context) ([]forward.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.err != nil {
		return nil, b.err
	}
	var out []forward.Node
	for _, n := range b.nodes {
		out = append(out, n)
	}
	return out, nil
}

func (b *board) put(n forward.Node) { _ = b.Announce(context.Background(), n, 0) }

// world is an authority and what the nodes share.
type world struct {
	t     *testing.T
	ca    *tlsxtest.CA
	board *board
	log   *slog.Logger
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, ca: tlsxtest.NewCA(t, domain), board: &board{}, log: slog.New(slog.DiscardHandler)}
}

// member is a node that takes forwarded requests, and records the bytes that it is sent inside TLS.
type member struct {
	name     string
	address  string
	server   *http.Server
	draining chan bool // one element: the state

	mu   sync.Mutex
	seen []forward.Carried
	head []http.Header
	body []string
}

func (m *member) setDraining(yes bool) {
	<-m.draining
	m.draining <- yes
}

type memberOptions struct {
	identity *ident.Workload // of the certificate; nil for the node's own
	refuse   func(ident.Workload) error
	serve    http.HandlerFunc
}

// start runs a node and leaves its address on the board.
func (w *world) start(name string, o memberOptions) *member {
	w.t.Helper()
	self := workload(name)
	certified := self
	if o.identity != nil {
		certified = *o.identity
	}
	m := &member{name: name, draining: make(chan bool, 1)}
	m.draining <- false
	s, err := forward.NewServer(forward.ServerConfig{
		Self: self, TLS: w.ca.Files(w.t, certified), Refuse: o.refuse, Log: w.log,
		Draining: func() bool {
			yes := <-m.draining
			m.draining <- yes
			return yes
		},
		Serve: func(rw http.ResponseWriter, r *http.Request, c forward.Carried) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.t.Error(err)
			}
			m.mu.Lock()
			m.seen, m.head, m.body = append(m.seen, c), append(m.head, r.Header.Clone()), append(m.body, string(body))
			m.mu.Unlock()
			o.serve(rw, r)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	m.address, m.server = l.Addr().String(), s.HTTP()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := m.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() {
		_ = m.server.Close()
		serving.Wait()
	})
	w.board.put(forward.Node{Name: name, Address: m.address, Generation: 1})
	return m
}

// front is a node that clients talk to, over real HTTP, and which forwards everything to one node.
type front struct {
	*httptest.Server
	w        *world
	registry *forward.Registry
	client   *forward.Client
	reader   *metric.ManualReader
	faults   chan error // of each request
}

type frontOptions struct {
	identity   *ident.Workload
	refuse     func(ident.Workload) error
	concurrent int64
	request    forward.Request
}

func (w *world) front(o frontOptions) *front {
	w.t.Helper()
	self := workload("front")
	if o.identity == nil {
		o.identity = &self
	}
	f := &front{w: w, reader: metric.NewManualReader(), faults: make(chan error, 64)}
	f.registry = forward.NewRegistry(w.board, forward.Node{Name: "front", Address: "127.0.0.1:1", Generation: 1}, w.log)
	meter := metric.NewMeterProvider(metric.WithReader(f.reader))
	var err error
	f.client, err = forward.NewClient(forward.ClientConfig{
		Registry: f.registry, Self: self, TLS: w.ca.Files(w.t, *o.identity), Refuse: o.refuse, Log: w.log, Meter: meter,
		Concurrent: o.concurrent,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		d := o.request
		d.Body, err = io.ReadAll(r.Body)
		if err != nil {
			w.t.Error(err)
		}
		if name := r.Header.Get("To"); name != "" {
			d.Node = name
		}
		_, err := f.client.Forward(rw, r, d)
		f.faults <- err
		if err == nil || fault.KindOf(err) == fault.Canceled {
			return
		}
		if fault.From(err).Reason == forward.ReasonBroken {
			panic(http.ErrAbortHandler)
		}
		http.Error(rw, fault.From(err).Reason, http.StatusServiceUnavailable)
	}))
	w.t.Cleanup(func() {
		f.Close()
		_ = f.client.Close()
		if err := meter.Shutdown(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Error(err)
		}
	})
	return f
}

// send makes a request of a client of the front.
func (f *front) send(ctx context.Context, method, target, body string, header ...string) *http.Response {
	f.w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, f.URL+target, strings.NewReader(body))
	if err != nil {
		f.w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := f.Client().Do(r)
	if err != nil {
		f.w.t.Fatal(err)
	}
	return resp
}

// call is send for an answer that ends.
func (f *front) call(method, target, body string, header ...string) (status int, head http.Header, text string) {
	f.w.t.Helper()
	resp := f.send(f.w.t.Context(), method, target, body, header...)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// wantFault compares the reason of the next request's fault, and the metric's outcome.
func (f *front) wantFault(reason string) {
	f.w.t.Helper()
	err := <-f.faults
	if err == nil || fault.From(err).Reason != reason {
		f.w.t.Errorf("forwarding fails with %v, want %s", err, reason)
	}
}

// counted returns the metric by "<reason> <outcome>".
func (f *front) counted() map[string]int64 {
	f.w.t.Helper()
	var all metricdata.ResourceMetrics
	if err := f.reader.Collect(f.w.t.Context(), &all); err != nil {
		f.w.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != "penstock_forwarded_total" {
				continue
			}
			sum, _ := m.Data.(metricdata.Sum[int64])
			for _, p := range sum.DataPoints {
				why, _ := p.Attributes.Value("reason")
				what, _ := p.Attributes.Value("outcome")
				out[why.AsString()+" "+what.AsString()] += p.Value
			}
		}
	}
	return out
}

// tap is a proxy of TCP that counts nothing and changes nothing, and can be cut.
type tap struct {
	net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
}

func (w *world) tap(to string) *tap {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	p := &tap{Listener: l, to: to}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			running.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			running.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	w.t.Cleanup(func() {
		p.cut()
		running.Wait()
	})
	return p
}

// cut ends the listener and all connections.
func (p *tap) cut() {
	_ = p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// dialAs connects to a node with the certificate of somebody.
func (w *world) dialAs(who ident.Workload) (client *http.Client, hangUp func()) {
	w.t.Helper()
	files := w.ca.Files(w.t, who)
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
		},
	}
	return &http.Client{Transport: transport}, transport.CloseIdleConnections
}
