// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type server = distributionv1.DistributionService_FollowServer

// script is a control plane that does what a test says, one function per stream.
type script struct {
	distributionv1.UnimplementedDistributionServiceServer
	nodev1.UnimplementedNodeServiceServer
	t      *testing.T
	follow func(n int, hello *distributionv1.Hello, s server) error
	blobs  map[string]string // body by itself, for FetchBlobs
	wrong  bool              // FetchBlobs answers with other bodies

	mu      sync.Mutex
	streams int
	dialed  []string
	fetched int
	refuse  bool
}

// Follow implements DistributionService.
func (c *script) Follow(s server) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.streams++
	n := c.streams
	c.mu.Unlock()
	if m.GetHello() == nil {
		c.t.Errorf("stream %d begins with %v", n, m)
	}
	return c.follow(n, m.GetHello(), s)
}

// FetchBlobs implements DistributionService.
func (c *script) FetchBlobs(r *distributionv1.FetchBlobsRequest, s distributionv1.DistributionService_FetchBlobsServer) error {
	m := &distributionv1.FetchBlobsResponse{}
	for _, h := range r.GetHashes() {
		body, ok := c.blobs[string(h)]
		if !ok {
			return status.Error(codes.NotFound, "no such body")
		}
		if c.wrong {
			body += "!"
		}
		m.Blobs = append(m.Blobs, []byte(body))
	}
	c.mu.Lock()
	c.fetched += len(m.GetBlobs())
	c.mu.Unlock()
	return s.Send(m)
}

// ReportStatus implements NodeService.
func (c *script) ReportStatus(context.Context, *nodev1.ReportStatusRequest) (*nodev1.ReportStatusResponse, error) {
	return &nodev1.ReportStatusResponse{}, nil
}

// start serves the script and runs a client of it until the test ends.
func start(t *testing.T, c *script, change func(*node.Config)) (*node.Client, *recorder, func()) {
	t.Helper()
	c.t = t
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.MaxSendMsgSize(64<<20))
	distributionv1.RegisterDistributionServiceServer(g, c)
	nodev1.RegisterNodeServiceServer(g, c)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	r := &recorder{}
	cfg := node.Config{
		Endpoints: []string{"passthrough:///a"}, Applier: r, Log: slog.New(slog.DiscardHandler),
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.dialed = append(c.dialed, addr)
				if c.refuse {
					return nil, errors.New("connection refused")
				}
				return l.DialContext(ctx)
			}),
		},
	}
	if change != nil {
		change(&cfg)
	}
	client, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- client.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("client: %v", err)
		}
		g.Stop()
		if err := <-served; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	t.Cleanup(stop)
	return client, r, stop
}

// recorder is an Applier that writes down what it is told.
type recorder struct {
	mu      sync.Mutex
	history []string
	gate    chan struct{}
}

func (r *recorder) Apply(_ context.Context, s node.State, touched []node.Key, atomic bool) []node.Reject {
	r.mu.Lock()
	gate := r.gate
	r.mu.Unlock()
	if gate != nil {
		<-gate
	}
	what := "full"
	if touched != nil {
		what = "delta"
		for _, k := range touched {
			what += " " + k.Name
		}
	}
	if atomic {
		what += " atomic"
	}
	r.add(what + " at " + s.Epoch() + "/" + time.Duration(s.Revision()).String())
	return nil
}

func (r *recorder) Deny(_ context.Context, revision uint64, keys []node.Key) {
	r.add("deny " + keys[0].Name + " by " + time.Duration(revision).String())
}

func (r *recorder) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history = append(r.history, strings.ReplaceAll(what, "ns", ""))
}

func (r *recorder) want(t *testing.T, history ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(history, r.history); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// user is a resource without a body.
func user(name, version string) *distributionv1.Resource {
	v := sha256.Sum256([]byte(version))
	return &distributionv1.Resource{
		Kind: "user", Name: name, Version: v[:], Body: &distributionv1.Resource_User{User: &resourcev1.User{Name: name}},
	}
}

// withBody is a resource with a body.
func withBody(name, body string) *distributionv1.Resource {
	r := user(name, body)
	h := sha256.Sum256([]byte(body))
	r.Blobs = [][]byte{h[:]}
	return r
}

func sum(resources ...*distributionv1.Resource) []byte {
	var d digest.Digest
	for _, r := range resources {
		d.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	return d.Bytes()
}

// snapshot sends a full state.
func snapshot(s server, epoch string, revision uint64, resources ...*distributionv1.Resource) error {
	return errors.Join(
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{
			SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: epoch, Revision: revision, Resources: uint64(len(resources))},
		}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{
			SnapshotPart: &distributionv1.SnapshotPart{Resources: resources},
		}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{
			SnapshotEnd: &distributionv1.SnapshotEnd{Digest: sum(resources...)},
		}}))
}

func delta(s server, d *distributionv1.Delta) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: d}})
}

func beat(s server, b *distributionv1.Heartbeat) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: b}})
}

func deny(s server, revision uint64, name string) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Deny{Deny: &distributionv1.Deny{
		Revision: revision, Keys: []*distributionv1.ResourceKey{{Kind: "user", Name: name}},
	}}})
}

// wait keeps a stream open, with heartbeats, until the node ends it.
func wait(s server) error {
	for {
		select {
		case <-s.Context().Done():
			return nil
		case <-time.After(5 * time.Second):
			if err := beat(s, &distributionv1.Heartbeat{Now: timestamppb.Now()}); err != nil {
				return err
			}
		}
	}
}

func bubble(t *testing.T, fn func(*testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

// TestProtocolErrors: what a control plane can do wrong on the second stream of its life ends that stream, changes
// nothing, and the third stream begins with a Hello that says what the node has.
func TestProtocolErrors(t *testing.T) {
	a := user("a", "1")
	next := &distributionv1.Delta{Epoch: "e", From: 5, To: 6, Upserts: []*distributionv1.Resource{user("b", "1")}, Digest: sum(a, user("b", "1"))}
	change := func(fn func(*distributionv1.Delta)) func(server) error {
		return func(s server) error {
			d := &distributionv1.Delta{Epoch: next.GetEpoch(), From: next.GetFrom(), To: next.GetTo(), Upserts: next.GetUpserts(), Digest: next.GetDigest()}
			fn(d)
			return delta(s, d)
		}
	}
	begin := func(s server) error {
		return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{
			SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: "e", Revision: 6, Resources: 1},
		}})
	}
	tests := map[string]func(server) error{
		"a delta from elsewhere":         change(func(d *distributionv1.Delta) { d.From = 4 }),
		"a delta of another epoch":       change(func(d *distributionv1.Delta) { d.Epoch = "f" }),
		"a delta that drifts":            change(func(d *distributionv1.Delta) { d.Digest = sum(a) }),
		"a digest that differs":          func(s server) error { return beat(s, &distributionv1.Heartbeat{Epoch: "e", Digest: sum()}) },
		"an advance of another epoch":    func(s server) error { return beat(s, &distributionv1.Heartbeat{Epoch: "f", AdvanceTo: 9}) },
		"an older snapshot":              func(s server) error { return snapshot(s, "e", 4, a) },
		"a part of no snapshot":          func(s server) error { return errors.Join(snapshotPart(s, a)) },
		"an end of no snapshot":          func(s server) error { return snapshotEnd(s, sum()) },
		"a snapshot inside another":      func(s server) error { return errors.Join(begin(s), begin(s)) },
		"a delta inside a snapshot":      func(s server) error { return errors.Join(begin(s), delta(s, next)) },
		"more resources than announced":  func(s server) error { return errors.Join(begin(s), snapshotPart(s, a, user("b", "1"))) },
		"fewer resources than announced": func(s server) error { return errors.Join(begin(s), snapshotEnd(s, sum())) },
		"a snapshot that drifts":         func(s server) error { return errors.Join(begin(s), snapshotPart(s, a), snapshotEnd(s, sum())) },
		"a snapshot inside a delta":      func(s server) error { return errors.Join(change(func(d *distributionv1.Delta) { d.More = true })(s), begin(s)) },
		"a resource without a version":   change(func(d *distributionv1.Delta) { d.Upserts = []*distributionv1.Resource{{Kind: "user", Name: "b"}} }),
		"a body that does not exist":     change(func(d *distributionv1.Delta) { d.Upserts[0] = withBody("b", "x"); d.Digest = sum(a, withBody("b", "x")) }),
		"a message of 20 MB":             change(func(d *distributionv1.Delta) { d.Blobs = [][]byte{make([]byte, 20<<20)} }),
		"silence":                        func(s server) error { <-s.Context().Done(); return nil },
		"the end":                        func(server) error { return status.Error(codes.OutOfRange, "say Hello again") },
	}
	for name, wrong := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				next.Upserts = []*distributionv1.Resource{user("b", "1")}
				third := make(chan *distributionv1.Hello, 1)
				c := &script{follow: func(n int, hello *distributionv1.Hello, s server) error {
					switch n {
					case 1:
						if err := snapshot(s, "e", 5, a); err != nil {
							return err
						}
						_, err := s.Recv() // an Ack, then the stream breaks
						return err
					case 2:
						if err := wrong(s); err != nil {
							return err
						}
						return wait(s)
					default:
						third <- hello
						return wait(s)
					}
				}}
				_, r, _ := start(t, c, nil)
				h := <-third
				if h.GetEpoch() != "e" || h.GetRevision() != 5 || string(h.GetDigest()) != string(sum(a)) {
					t.Errorf("third Hello %v", h)
				}
				r.want(t, "full at e/5")
			})
		})
	}
}

func snapshotPart(s server, resources ...*distributionv1.Resource) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{
		SnapshotPart: &distributionv1.SnapshotPart{Resources: resources},
	}})
}

func snapshotEnd(s server, digest []byte) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{
		SnapshotEnd: &distributionv1.SnapshotEnd{Digest: digest},
	}})
}

// TestConfig: what is missing is said.
func TestConfig(t *testing.T) {
	full := node.Config{Endpoints: []string{"a:1"}, Applier: &recorder{}, Log: slog.New(slog.DiscardHandler), Dir: "d", SealKey: make([]byte, 32)}
	for name, change := range map[string]func(*node.Config){
		"endpoint": func(c *node.Config) { c.Endpoints = nil },
		"applier":  func(c *node.Config) { c.Applier = nil },
		"logger":   func(c *node.Config) { c.Log = nil },
		"seal key": func(c *node.Config) { c.SealKey = make([]byte, 16) },
	} {
		cfg := full
		change(&cfg)
		if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := node.New(full); err != nil {
		t.Error(err)
	}
}

// TestUnknownMessages: what a later release sends beside the protocol is ignored.
func TestUnknownMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			m := &distributionv1.FollowResponse{}
			m.ProtoReflect().SetUnknown([]byte{0x9a, 0x06, 0x01, 0x00}) // field 99
			if err := errors.Join(s.Send(m), snapshot(s, "e", 5, user("a", "1"))); err != nil {
				return err
			}
			return wait(s)
		}}
		_, r, _ := start(t, c, nil)
		time.Sleep(time.Minute)
		r.want(t, "full at e/5")
		if c.streams != 1 {
			t.Errorf("%d streams", c.streams)
		}
	})
}

// TestBackoff: full jitter between 0 and a limit that doubles from 100 ms to 15 s, over the list of endpoints (D-40,
// D-41).
func TestBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var limits []time.Duration
		c := &script{refuse: true, follow: func(_ int, _ *distributionv1.Hello, s server) error { return wait(s) }}
		client, _, _ := start(t, c, func(cfg *node.Config) {
			cfg.Endpoints = []string{"passthrough:///a", "passthrough:///b", "passthrough:///c"}
			cfg.Jitter = func(limit time.Duration) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				limits = append(limits, limit)
				return limit
			}
		})
		time.Sleep(2 * time.Minute)
		mu.Lock()
		got := slices.Clone(limits[:10])
		mu.Unlock()
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
		c.mu.Lock()
		if diff := cmp.Diff([]string{"a", "b", "c", "a", "b", "c"}, c.dialed[:6]); diff != "" {
			t.Errorf("dialed (-want +got):\n%s", diff)
		}
		c.refuse = false
		c.mu.Unlock()
		if s := client.Status(); s.Connected || s.Loaded || !s.Stale {
			t.Errorf("status %+v", s)
		}
		time.Sleep(20 * time.Second)
		if s := client.Status(); !s.Connected || s.Stale || s.Endpoint == "" {
			t.Errorf("status %+v", s)
		}
	})
}
