// SPDX-License-Identifier: Apache-2.0

package replicas_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/replicas"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a table of control planes in memory, that may be away.
type table struct {
	mu   sync.Mutex
	rows map[string]replicas.Row
	err  error
}

func (b *table) set(change func(*table)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
}

func (b *table) Beat(ctx context.Context, own replicas.Row, _ bool) ([]replicas.Row, time.Time, error) {
	b.set(func(b *table) {
		if b.err == nil {
			b.rows[own.ID] = own
		}
	})
	live, err := b.Live(ctx)
	return live, time.Now().Add(time.Hour), err // its clock is ahead
}

func (b *table) Live(context.Context) (live []replicas.Row, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		live = append(live, r)
	}
	return live, b.err
}

func (b *table) Leave(_ context.Context, id string) error {
	b.set(func(b *table) { delete(b.rows, id) })
	return nil
}

// ledger is the followers of one control plane, and what it was told of others.
type ledger struct {
	mu        sync.Mutex
	own       []*replicav1.Follower
	position  uint64
	moved     chan struct{}
	told      map[string][]string // by control plane, SPIFFE ids of its connected followers
	since     time.Time           // of the follower told last
	forgotten []string
	tasks     chan string
}

func newLedger() *ledger {
	return &ledger{moved: make(chan struct{}), told: map[string][]string{}, tasks: make(chan string, 1), position: 1}
}

// set gives the ledger its followers.
func (l *ledger) set(own ...*replicav1.Follower) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own = own
	l.position++
	close(l.moved)
	l.moved = make(chan struct{})
}

func (l *ledger) Followers(after uint64) ([]*replicav1.Follower, uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after >= l.position {
		return nil, l.position, l.moved
	}
	return slices.Clone(l.own), l.position, l.moved
}

func (l *ledger) Merge(replica string, list []*replicav1.Follower, _ bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[replica] = nil
	for _, f := range list {
		l.told[replica] = append(l.told[replica], f.GetSpiffeId())
		l.since = f.GetConnectTime().AsTime()
	}
}

func (l *ledger) Forget(replica string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.told, replica)
	l.forgotten = append(l.forgotten, replica)
}

func (l *ledger) Streams() (all, staying int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.own), len(l.own)
}

func (l *ledger) Dispatch(ctx context.Context, t *distributionv1.Task) error {
	l.tasks <- t.GetId()
	<-ctx.Done()
	return nil
}

func (l *ledger) knows(replica string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told[replica]
}

// log is a revision log that remembers who has seen what.
type log struct {
	head catalog.Head
	seen chan catalog.Head
}

func (l *log) Head() catalog.Head { return l.head }

func (l *log) Witness(_ context.Context, _ string, seen catalog.Head) {
	select {
	case l.seen <- seen:
	default:
	}
}

// one is a running control plane.
type one struct {
	*replicas.Replicas
	id      string
	ledger  *ledger
	log     *log
	results chan string
	server  *grpc.Server
	stop    func()
}

func start(t *testing.T, ca *tlsxtest.CA, b *table, name string) *one {
	t.Helper()
	files := ca.Files(t, ident.Workload{Role: ident.RoleControlPlane, Name: name})
	client, err := tlsx.Client(files, "test", ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	server, err := tlsx.Server(files, "test", ident.RoleControlPlane, ident.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &one{
		id: replicas.NewID(name), ledger: newLedger(), results: make(chan string, 1),
		log: &log{head: catalog.Head{Epoch: "e", Revision: 7}, seen: make(chan catalog.Head, 8)},
	}
	o.Replicas, err = replicas.New(replicas.Config{
		ID: o.id, Address: l.Addr().String(), Credentials: credentials.NewTLS(client), Table: b, Ledger: o.ledger, Log: o.log,
		Deliver: func(m *nodev1.ReportDiscoveryRequest) { o.results <- m.GetTaskId() }, Logger: slog.New(slog.DiscardHandler),
		DeliverExplanation: func(m *nodev1.ReportExplanationRequest) { o.results <- m.GetTaskId() },
		Beat:               20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(server)))
	o.Register(o.server)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = o.server.Serve(l) })
	wg.Go(func() {
		if err := o.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	o.stop = sync.OnceFunc(func() {
		o.ledger.set()
		cancel()
		o.server.GracefulStop()
		wg.Wait()
	})
	t.Cleanup(o.stop)
	return o
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func follower(name string) *replicav1.Follower {
	return &replicav1.Follower{SpiffeId: name, Connected: true}
}

// TestReplicas: control planes find each other, tell each other their followers, and let go of one that stops.
func TestReplicas(t *testing.T) {
	ca, b := tlsxtest.NewCA(t, "test"), &table{rows: map[string]replicas.Row{}}
	first, second := start(t, ca, b, "a"), start(t, ca, b, "b")
	first.ledger.set(follower("n1"))
	second.ledger.set(follower("n2"), follower("n3"))
	eventually(t, "a knows b's", func() bool { return slices.Equal(first.ledger.knows(second.id), []string{"n2", "n3"}) })
	eventually(t, "b knows a's", func() bool { return slices.Equal(second.ledger.knows(first.id), []string{"n1"}) })
	if h := <-first.log.seen; h != second.log.head {
		t.Errorf("b has seen %+v", h)
	}

	// Everything that was so when it is asked is known when Sync returns.
	for range 20 {
		second.ledger.set(follower("n9"))
		if silent := first.Sync(t.Context()); len(silent) > 0 {
			t.Fatalf("silent: %v", silent)
		}
		if got := first.ledger.knows(second.id); !slices.Equal(got, []string{"n9"}) {
			t.Fatalf("after Sync a knows %v", got)
		}
		second.ledger.set(follower("n2"), follower("n3"))
	}
	eventually(t, "loads are told", func() bool { return second.Surplus() == 0 && len(second.Endpoints()) == 1 })

	// Work for a node elsewhere, and its result.
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- first.Dispatch(ctx, &distributionv1.Task{Id: "t" + first.Mark()}) }()
	task := <-second.ledger.tasks
	if done, err := second.Report(t.Context(), &nodev1.ReportDiscoveryRequest{
		TaskId: task, Result: &nodev1.ReportDiscoveryRequest_Discovered{Discovered: &nodev1.Discovered{}},
	}); !done || err != nil {
		t.Errorf("reported %t, %v", done, err)
	}
	if got := <-first.results; got != task {
		t.Errorf("the result of %s", got)
	}
	answer := &nodev1.ReportExplanationRequest{TaskId: task, Result: &nodev1.ReportExplanationRequest_Failure{Failure: &nodev1.ExplanationFailure{}}}
	if done, err := second.ReportExplanation(t.Context(), answer); !done || err != nil {
		t.Errorf("explained %t, %v", done, err)
	}
	if got := <-first.results; got != task {
		t.Errorf("the answer to %s", got)
	}
	cancel()
	if err := <-given; err != nil {
		t.Errorf("given up: %v", err)
	}
	for _, id := range []string{"", "t", "t-nobody", "t" + second.Mark()} {
		if done, err := second.Report(t.Context(), &nodev1.ReportDiscoveryRequest{TaskId: id}); done || err != nil {
			t.Errorf("result of %q: %t, %v", id, done, err)
		}
	}

	// While the database is away, and after, nobody is taken for gone who tells his followers.
	b.set(func(b *table) { b.err, b.rows = errors.New("away"), map[string]replicas.Row{} })
	if silent := first.Sync(t.Context()); len(silent) > 0 {
		t.Errorf("silent without a database: %v", silent)
	}
	b.set(func(b *table) { b.err = nil })
	eventually(t, "rows are back", func() bool { live, _ := b.Live(t.Context()); return len(live) == 2 })

	second.stop()
	eventually(t, "b is gone", func() bool { return first.ledger.knows(second.id) == nil && len(first.Endpoints()) == 0 })
	if err := first.Dispatch(t.Context(), &distributionv1.Task{Id: "t"}); err == nil {
		t.Error("nobody has a node, and it was given one")
	}
}

// TestSilence: a control plane that is in the table and does not answer is named, and not forgotten; one at whose address
// another process answers is not taken for it.
func TestSilence(t *testing.T) {
	ca, b := tlsxtest.NewCA(t, "test"), &table{rows: map[string]replicas.Row{}}
	first, second := start(t, ca, b, "a"), start(t, ca, b, "b")
	eventually(t, "a knows b", func() bool { return len(first.Endpoints()) == 1 })
	live, err := b.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address := live[slices.IndexFunc(live, func(r replicas.Row) bool { return r.ID == second.id })].Address
	b.set(func(b *table) {
		b.rows["dead-1"] = replicas.Row{ID: "dead-1", Address: "127.0.0.1:1"}
		b.rows["old-1"] = replicas.Row{ID: "old-1", Address: address}
	})
	eventually(t, "both are silent", func() bool { return slices.Equal(first.Silent(), []string{"dead-1", "old-1"}) })
	if silent := first.Sync(t.Context()); !slices.Equal(silent, []string{"dead-1", "old-1"}) {
		t.Errorf("silent: %v", silent)
	}
	if got := first.Endpoints(); !slices.Equal(got, []string{address}) {
		t.Errorf("nodes are sent to %v", got)
	}
	b.set(func(b *table) { delete(b.rows, "dead-1"); delete(b.rows, "old-1") })
	eventually(t, "nobody is silent", func() bool { return len(first.Silent()) == 0 })
}

// TestRefusals: only control planes may ask.
func TestRefusals(t *testing.T) {
	ca, b := tlsxtest.NewCA(t, "test"), &table{rows: map[string]replicas.Row{}}
	start(t, ca, b, "a")
	eventually(t, "the row", func() bool { live, _ := b.Live(t.Context()); return len(live) == 1 })
	live, err := b.Live(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for role, want := range map[ident.Role]codes.Code{ident.RoleNode: codes.PermissionDenied, ident.RoleControlPlane: codes.InvalidArgument} {
		config, err := tlsx.Client(ca.Files(t, ident.Workload{Role: role, Region: "eu", Name: "x"}), "test", ident.RoleControlPlane)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient("passthrough:///"+live[0].Address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
		if err != nil {
			t.Fatal(err)
		}
		client := replicav1.NewReplicaServiceClient(conn)
		_, errDispatch := client.Dispatch(t.Context(), &replicav1.DispatchRequest{})
		_, errReport := client.Report(t.Context(), &replicav1.ReportRequest{})
		for call, err := range map[string]error{"Dispatch": errDispatch, "Report": errReport} {
			if status.Code(err) != want {
				t.Errorf("%s by %s: %v", call, role, err)
			}
		}
		if role == ident.RoleNode {
			stream, err := client.Watch(t.Context(), &replicav1.WatchRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); status.Code(err) != want {
				t.Errorf("Watch: %v", err)
			}
			if _, err := client.GetPosition(t.Context(), &replicav1.GetPositionRequest{}); status.Code(err) != want {
				t.Errorf("GetPosition: %v", err)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := replicas.New(replicas.Config{}); err == nil {
		t.Error("made of nothing")
	}
}
