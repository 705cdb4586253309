// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/penstockhq/penstock/controlplane/internal/distribute"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// raw is a client that says what a test wants, through the generated code only: the contract as an outsider sees it.
func raw(t *testing.T, p *plane, w ident.Workload) distributionv1.DistributionServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return p.dial(w) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return distributionv1.NewDistributionServiceClient(conn)
}

func hello(h *distributionv1.Hello) *distributionv1.FollowRequest {
	return &distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Hello{Hello: h}}
}

func ack(a *distributionv1.Ack) *distributionv1.FollowRequest {
	return &distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Ack{Ack: a}}
}

// drain reads a stream until it ends.
func drain(s distributionv1.DistributionService_FollowClient) (kinds []string, err error) {
	for {
		m, err := s.Recv()
		if err != nil {
			return kinds, err
		}
		switch {
		case m.GetSnapshotBegin() != nil:
			kinds = append(kinds, "begin")
		case m.GetSnapshotPart() != nil:
			kinds = append(kinds, "part")
		case m.GetSnapshotEnd() != nil:
			kinds = append(kinds, "end")
		case m.GetDelta() != nil:
			kinds = append(kinds, "delta")
		case m.GetDeny() != nil:
			kinds = append(kinds, "deny")
		case m.GetRevocations() != nil:
			kinds = append(kinds, "revocations")
		case m.GetHeartbeat() != nil:
			kinds = append(kinds, "heartbeat")
		case m.GetDrain() != nil:
			kinds = append(kinds, "drain")
		}
	}
}

// TestRefusals: what ends a stream, and how.
func TestRefusals(t *testing.T) {
	ready := &distributionv1.Hello{Protocol: 1}
	tests := []struct {
		name string
		who  ident.Workload
		send []*distributionv1.FollowRequest
		code codes.Code
		text string
	}{
		{"another role", ident.Workload{TrustDomain: "test", Role: ident.RoleControlPlane, Name: "a"}, nil, codes.PermissionDenied, "role"},
		{"no Hello", workload("n1", "eu"), nil, codes.DeadlineExceeded, "no Hello"},
		{"Ack before Hello", workload("n1", "eu"), []*distributionv1.FollowRequest{ack(&distributionv1.Ack{})}, codes.InvalidArgument, "first message"},
		{"Hello twice", workload("n1", "eu"), []*distributionv1.FollowRequest{hello(ready), hello(ready)}, codes.InvalidArgument, "first message only"},
		{"another protocol", workload("n1", "eu"), []*distributionv1.FollowRequest{hello(&distributionv1.Hello{Protocol: 2})}, codes.FailedPrecondition, "protocol 2"},
		{"an empty message", workload("n1", "eu"), []*distributionv1.FollowRequest{{}}, codes.InvalidArgument, ""},
		{"a digest of another size", workload("n1", "eu"), []*distributionv1.FollowRequest{hello(&distributionv1.Hello{Protocol: 1, Digest: make([]byte, 17)})}, codes.InvalidArgument, "digest"},
		{"silence after Hello (D-43)", workload("n1", "eu"), []*distributionv1.FollowRequest{hello(ready)}, codes.DeadlineExceeded, "silent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := startPlane(t, memstore.New(nil), nil)
				p.write(feedtest.Shop()...)
				s, err := raw(t, p, tt.who).Follow(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range tt.send {
					if err := s.Send(m); err != nil {
						t.Fatal(err)
					}
				}
				start := time.Now()
				_, err = drain(s)
				if st := status.Convert(err); st.Code() != tt.code || !strings.Contains(st.Message(), tt.text) {
					t.Errorf("got %v, want %s with %q", err, tt.code, tt.text)
				}
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestNotLoaded: a control plane without its state accepts no stream (D-44).
func TestNotLoaded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &plane{tb: t, pipe: 64 << 10, feed: feed.New(feed.Config{Store: memstore.New(nil), Log: feedtest.Log()})}
		p.server = distribute.New(distribute.Config{Feed: p.feed, Log: feedtest.Log()})
		s, err := raw(t, p, workload("n1", "eu")).Follow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("got %v, want unavailable", err)
		}
		for _, g := range p.servers {
			g.Stop()
		}
	})
}

// TestNoIdentity: a connection that proves nothing gets nothing (D-80).
func TestNoIdentity(t *testing.T) {
	p := startPlane(t, memstore.New(nil), nil)
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.ForceServerCodecV2(distribute.Codec()))
	p.server.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	s, err := distributionv1.NewDistributionServiceClient(conn).Follow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("Follow: %v, want unauthenticated", err)
	}
	b, err := distributionv1.NewDistributionServiceClient(conn).FetchBlobs(t.Context(), &distributionv1.FetchBlobsRequest{Hashes: [][]byte{make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("FetchBlobs: %v, want unauthenticated", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	g.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFetchBlobs: a body outside the scope does not exist for a node (D-82).
func TestFetchBlobs(t *testing.T) {
	hash := func(body string) []byte {
		h := sha256.Sum256([]byte(body))
		return h[:]
	}
	large := strings.Repeat("y", 300<<10)
	tests := []struct {
		name   string
		region string
		hashes [][]byte
		want   []string
		code   codes.Code
	}{
		{"in scope, in the order asked for", "eu", [][]byte{hash(large), hash(`{"name":"buy"}`)}, []string{large, `{"name":"buy"}`}, codes.OK},
		{"of a tool nobody assigned", "eu", [][]byte{hash(`{"name":"sell"}`)}, nil, codes.NotFound},
		{"of another region", "us", [][]byte{hash(large)}, nil, codes.NotFound},
		{"one of two", "eu", [][]byte{hash(`{"name":"buy"}`), hash("nothing")}, nil, codes.NotFound},
		{"half a hash", "eu", [][]byte{{1, 2, 3}}, nil, codes.InvalidArgument},
		{"none", "eu", nil, nil, codes.InvalidArgument},
		{"too many", "eu", make([][]byte, 1001), nil, codes.InvalidArgument},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := startPlane(t, memstore.New(nil), nil)
			p.write(append(feedtest.Shop(), feedtest.Tool("shop", "large", large), feedtest.Gateway("europe", "1", "eu"),
				feedtest.Assign("europe", "shop/large", "shop-main"))...)
			s, err := raw(t, p, workload("n1", tt.region)).FetchBlobs(t.Context(), &distributionv1.FetchBlobsRequest{Hashes: tt.hashes})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				m, err := s.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					if status.Code(err) != tt.code {
						t.Errorf("got %v, want %s", err, tt.code)
					}
					break
				}
				for _, b := range m.GetBlobs() {
					got = append(got, string(b))
				}
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("%d bodies, want %d", len(got), len(tt.want))
			}
		})
	}
}

// TestHelloFromTheFuture: a node that knows more than the control plane keeps what it has (D-72), and one of another
// lineage gets a snapshot (D-73).
func TestHelloFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		p.write(feedtest.Shop()...)
		h := p.feed.Head()
		tests := []struct {
			name  string
			hello *distributionv1.Hello
			first string
			code  codes.Code
		}{
			{"another epoch", &distributionv1.Hello{Protocol: 1, Epoch: "other", Revision: 99, Digest: make([]byte, 16)}, "begin", codes.DeadlineExceeded},
			{"another digest", &distributionv1.Hello{Protocol: 1, Epoch: h.Epoch, Revision: uint64(h.Revision), Digest: make([]byte, 16)}, "begin", codes.DeadlineExceeded},
			{"no digest", &distributionv1.Hello{Protocol: 1, Epoch: h.Epoch, Revision: uint64(h.Revision)}, "begin", codes.DeadlineExceeded},
			{"nothing", &distributionv1.Hello{Protocol: 1}, "begin", codes.DeadlineExceeded},
			{"ahead", &distributionv1.Hello{Protocol: 1, Epoch: h.Epoch, Revision: uint64(h.Revision) + 1, Digest: make([]byte, 16)}, "", codes.Unavailable},
		}
		for _, tt := range tests {
			s, err := raw(t, p, workload("n1", "eu")).Follow(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(hello(tt.hello)); err != nil {
				t.Fatal(err)
			}
			kinds, err := drain(s)
			first := ""
			if len(kinds) > 0 {
				first = kinds[0]
			}
			if first != tt.first || status.Code(err) != tt.code {
				t.Errorf("%s: %v, then %v", tt.name, kinds, err)
			}
		}
		// Nothing may be written over what the node knows, and nobody else is sent the older state.
		if err := p.feed.Guard(t.Context(), h); fault.From(err).Reason != feed.ReasonRevisionsLost || !strings.Contains(fault.From(err).Public, "node n1") {
			t.Errorf("a write after it: %v", err)
		}
		if p.feed.Ready() {
			t.Error("it goes on sending")
		}
	})
}

// TestHeartbeats: every 5 s, with the digest in every 15th (D-43).
func TestHeartbeats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		rev := p.write(feedtest.Shop()...)
		s, err := raw(t, p, workload("n1", "eu")).Follow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(hello(&distributionv1.Hello{Protocol: 1})); err != nil {
			t.Fatal(err)
		}
		var digest []byte
		start := time.Now()
		for beats := 0; beats < 30; {
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.GetSnapshotEnd() != nil {
				digest = m.GetSnapshotEnd().GetDigest()
			}
			b := m.GetHeartbeat()
			if b == nil {
				continue
			}
			beats++
			if want := time.Duration(beats) * 5 * time.Second; time.Since(start) != want {
				t.Fatalf("heartbeat %d came after %s", beats, time.Since(start))
			}
			if b.GetHead() != uint64(rev) || b.GetEpoch() != p.feed.Head().Epoch || b.GetAdvanceTo() != 0 || !b.GetNow().AsTime().Equal(time.Now()) {
				t.Fatalf("heartbeat %d: %v", beats, b)
			}
			if (len(b.GetDigest()) > 0) != (beats%15 == 0) || len(b.GetDigest()) > 0 && string(b.GetDigest()) != string(digest) {
				t.Fatalf("heartbeat %d: digest %x, want %x", beats, b.GetDigest(), digest)
			}
			if err := s.Send(ack(&distributionv1.Ack{})); err != nil {
				t.Fatal(err)
			}
		}
	})
}
