// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
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

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
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
	directoryv1.UnimplementedDirectoryServiceServer
	t      *testing.T
	follow func(n int, hello *distributionv1.Hello, s server) error
	blobs  map[string]string // body by itself, for FetchBlobs
	wrong  bool              // FetchBlobs answers with other bodies

	mu        sync.Mutex
	published []int // revocations of each call
	streams   int
	dialed    []string
	fetched   int
	refuse    bool
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

// PublishRevocations implements DistributionService.
func (c *script) PublishRevocations(_ context.Context, r *distributionv1.PublishRevocationsRequest) (*distributionv1.PublishRevocationsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.published = append(c.published, len(r.GetRevocations()))
	return &distributionv1.PublishRevocationsResponse{}, nil
}

// LoginUser implements DirectoryService.
func (c *script) LoginUser(_ context.Context, r *directoryv1.LoginUserRequest) (*directoryv1.LoginUserResponse, error) {
	return &directoryv1.LoginUserResponse{UserUid: "uid of " + r.GetSubject()}, nil
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
	directoryv1.RegisterDirectoryServiceServer(g, c)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	r := &recorder{}
	cfg := node.Config{
		Endpoints: []string{"passthrough:///a"}, Applier: r, Log: discard(),
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

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

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

// acked reads until the node acknowledged a revision.
func acked(s server, revision uint64) error {
	for {
		m, err := s.Recv()
		if err != nil || m.GetAck().GetRevision() == revision {
			return err
		}
	}
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
