// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node"
)

func TestMain(m *testing.M) { os.Exit(leakFree(pgtest.Main(m))) }

// leakFree fails a run after which goroutines are left.
func leakFree(code int) int {
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// plane is a running control plane, as far as nodes see it.
type plane struct {
	tb     testing.TB
	store  catalog.Store
	feed   *feed.Feed
	server *distribute.Server
	pipe   int // bytes that fit into a connection

	mu      sync.Mutex
	servers []*grpc.Server
	stopped bool
	stop    func()
}

// startPlane runs a control plane on a store until the test ends or it is killed.
func startPlane(tb testing.TB, store catalog.Store, change func(*distribute.Config)) *plane {
	tb.Helper()
	p := &plane{tb: tb, pipe: 64 << 10, store: store, feed: feed.New(feed.Config{Store: store, Log: feedtest.Log()})}
	cfg := distribute.Config{Feed: p.feed, Log: feedtest.Log()}
	if change != nil {
		change(&cfg)
	}
	p.server = distribute.New(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.feed.Run(ctx); err != nil {
			tb.Errorf("feed: %v", err)
		}
	})
	wg.Go(func() {
		if err := p.server.Run(ctx); err != nil {
			tb.Errorf("server: %v", err)
		}
	})
	p.stop = sync.OnceFunc(func() {
		p.mu.Lock()
		servers := p.servers
		p.servers, p.stopped = nil, true
		p.mu.Unlock()
		for _, s := range servers {
			s.Stop()
		}
		cancel()
		wg.Wait()
	})
	tb.Cleanup(func() { p.stop() })
	feedtest.Await(tb, p.feed, p.feed.Ready)
	return p
}

// dial connects as a workload: each connection has a server of its own, because its credentials say who it is.
func (p *plane) dial(w ident.Workload) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, net.ErrClosed // nobody would stop a server that was made now
	}
	l := bufconn.Listen(p.pipe)
	s := grpc.NewServer(grpc.Creds(enroll.Local(w)), grpc.ForceServerCodecV2(distribute.Codec()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))
	p.server.Register(s)
	p.servers = append(p.servers, s)
	go func() { _ = s.Serve(l) }() // ends with Stop, which plane.stop waits for
	return l.DialContext(p.tb.Context())
}

// write commits and waits until the feed has it.
func (p *plane) write(ops ...feedtest.Op) catalog.Revision {
	p.tb.Helper()
	rev := feedtest.Write(p.tb, p.store, ops...)
	feedtest.AwaitHead(p.tb, p.feed, rev)
	return rev
}

// wait waits until every node enforces a revision.
func (p *plane) wait(rev catalog.Revision) distribute.Enforcement {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(p.tb.Context(), 20*time.Second)
	defer cancel()
	e := p.server.WaitEnforced(ctx, rev, false)
	if !e.Enforced {
		p.tb.Fatalf("revision %d is not enforced: %+v", rev, e)
	}
	return e
}

// view is an Applier that remembers. It stands for the data plane's compiler.
type view struct {
	mu      sync.Mutex
	epoch   string
	at      uint64
	have    map[node.Key]string // version
	bodies  map[node.Key]string
	denied  map[node.Key]uint64
	full    int                 // full states applied
	touched []node.Key          // of deltas, all together
	bad     map[node.Key]string // rejected: key to reason
	gate    chan struct{}       // Apply waits for it to close; nil does not wait
	moved   chan struct{}       // closed at the next change
	order   []string            // what came, in order
	revoked map[string]int      // key of a revocation to how often it came
}

func newView() *view {
	return &view{have: map[node.Key]string{}, bodies: map[node.Key]string{}, denied: map[node.Key]uint64{}, revoked: map[string]int{}, moved: make(chan struct{})}
}

func kinds() []string {
	return []string{"server", "connection", "tool", "gateway", "assignment", "team", "user", "bearer_token", "identity_provider", "oauth_client"}
}

func (v *view) Apply(ctx context.Context, s node.State, touched []node.Key, atomic bool) []node.Reject {
	v.mu.Lock()
	gate := v.gate
	v.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if touched == nil {
		v.full++
		v.have, v.bodies = map[node.Key]string{}, map[node.Key]string{}
		for _, kind := range kinds() {
			s.Range(kind, func(r *distributionv1.Resource) bool {
				touched = append(touched, node.Key{Kind: kind, Name: r.GetName()})
				return true
			})
		}
	} else {
		v.touched = append(v.touched, touched...)
	}
	var rejects []node.Reject
	for _, k := range touched {
		if reason, ok := v.bad[k]; ok && s.Get(k.Kind, k.Name) != nil {
			rejects = append(rejects, node.Reject{Key: k, Version: s.Get(k.Kind, k.Name).GetVersion(), Reason: reason})
		}
	}
	for _, k := range touched {
		r := s.Get(k.Kind, k.Name)
		if r != nil && (v.bad[k] != "" || atomic && len(rejects) > 0) {
			continue
		}
		delete(v.have, k)
		delete(v.bodies, k)
		if r == nil {
			continue
		}
		v.have[k] = string(r.GetVersion())
		for _, h := range r.GetBlobs() {
			v.bodies[k] += string(s.Blob([sha256.Size]byte(h)).Bytes())
		}
	}
	v.epoch, v.at = s.Epoch(), s.Revision()
	for k, rev := range v.denied {
		if rev <= v.at {
			delete(v.denied, k)
		}
	}
	v.note(fmt.Sprintf("state %d", v.at))
	return rejects
}

func (v *view) Deny(_ context.Context, revision uint64, keys []node.Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision > v.at {
		for _, k := range keys {
			v.denied[k] = revision
		}
	}
	v.note(fmt.Sprintf("deny %d", revision))
}

// Revoked takes revocations.
func (v *view) Revoked(_ context.Context, entries []*distributionv1.Revocation) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range entries {
		v.revoked[string(e.GetKeySha256())]++
	}
	v.note(fmt.Sprintf("revoked %d", len(entries)))
}

// note wakes who waits. The caller holds mu.
func (v *view) note(what string) {
	v.order = append(v.order, what)
	close(v.moved)
	v.moved = make(chan struct{})
}

// await waits until a condition on the view holds.
func (v *view) await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for {
		v.mu.Lock()
		moved, ok := v.moved, holds()
		v.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-moved:
		case <-late.C:
			tb.Fatalf("waited in vain: %s (history %v)", what, v.order)
		}
	}
}

func (v *view) lock(fn func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fn()
}

// names returns what the view holds, sorted, "kind name".
func (v *view) names() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []string
	for k := range v.have {
		list = append(list, k.Kind+" "+k.Name)
	}
	slices.Sort(list)
	return list
}

// sim is a node.
type sim struct {
	tb     testing.TB
	view   *view
	client *node.Client
	who    ident.Workload

	mu    sync.Mutex
	plane *plane // dialed; nil: nobody answers
	conns []net.Conn
	wrap  func(net.Conn) net.Conn
	stop  func()
}

// workload is the identity of a node.
func workload(name, region string) ident.Workload {
	return ident.Workload{TrustDomain: "test", Region: region, Role: ident.RoleNode, Name: name}
}

// startNode runs a node until the test ends or it is stopped.
func startNode(tb testing.TB, p *plane, name, region string, change func(*sim, *node.Config)) *sim {
	tb.Helper()
	s := &sim{tb: tb, view: newView(), who: workload(name, region), plane: p}
	cfg := node.Config{
		Endpoints: []string{"passthrough:///plane"}, Applier: s.view, Revocations: s.view.Revoked, Log: feedtest.Log(), Build: "test",
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(s.dial)},
	}
	if change != nil {
		change(s, &cfg)
	}
	client, err := node.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	s.client = client
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("node %s: %v", name, err)
		}
	})
	tb.Cleanup(func() { s.stop() })
	return s
}

func (s *sim) dial(context.Context, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plane == nil {
		return nil, errors.New("connection refused")
	}
	c, err := s.plane.dial(s.who)
	if err != nil {
		return nil, err
	}
	if s.wrap != nil {
		c = s.wrap(c)
	}
	s.conns = append(s.conns, c)
	return c, nil
}

// move makes the node dial another control plane, nil for none, and breaks what it has.
func (s *sim) move(p *plane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plane = p
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

// at waits until the node enforces a revision.
func (s *sim) at(rev catalog.Revision) {
	s.tb.Helper()
	s.view.await(s.tb, fmt.Sprintf("revision %d enforced", rev), func() bool { return s.view.at >= uint64(rev) })
}

// digest returns the digest of what the node has at a revision. Its client says that it has it a moment after the view does.
func (s *sim) digest(rev catalog.Revision) []byte {
	s.tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if status := s.client.Status(); status.Revision >= uint64(rev) {
			return status.Digest.Bytes()
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("the client says nothing of revision %d", rev)
		}
		runtime.Gosched()
	}
}

// equal compares what two nodes enforce.
func equal(tb testing.TB, a, b *view) {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !maps.Equal(a.have, b.have) || !maps.Equal(a.bodies, b.bodies) {
		tb.Fatalf("the nodes differ: %d and %d resources", len(a.have), len(b.have))
	}
}
