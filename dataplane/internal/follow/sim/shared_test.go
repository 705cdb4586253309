// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/follow/sim"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

// script is a control plane with bodies: a snapshot, a delta in two parts, a cursor that moves; then it ends each stream once,
// and says no more to who comes back with the digest it has to have.
type script struct {
	distributionv1.UnimplementedDistributionServiceServer
	odd string // a node that is given a wrong body, or a wrong digest at the end
	how string

	mu     sync.Mutex
	asked  map[string]int // bodies
	hellos map[string][]*distributionv1.Hello
	away   int           // nodes that have not come back yet, but the odd one
	back   chan struct{} // closed when there are none
}

func newScript(odd, how string, nodes int) *script {
	if odd != "" {
		nodes--
	}
	return &script{odd: odd, how: how, asked: map[string]int{}, hellos: map[string][]*distributionv1.Hello{}, away: nodes, back: make(chan struct{})}
}

const bodiesAtFirst = 1100 // more than one FetchBlobs asks for

func bodyText(n int) []byte { return fmt.Appendf(nil, `{"name":"tool-%d"}`, n) }

func withBody(n int) *distributionv1.Resource {
	hash := sha256.Sum256(bodyText(n))
	version := sha256.Sum256(hash[:])
	return &distributionv1.Resource{Kind: "tool", Name: fmt.Sprintf("s/%d", n), Version: version[:], Blobs: [][]byte{hash[:]}}
}

func sumTo(n int) []byte {
	var d digest.Digest
	for i := range n {
		r := withBody(i)
		d.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	return d.Bytes()
}

func nameOf(ctx context.Context) (string, error) {
	who, _ := peer.FromContext(ctx)
	info, ok := who.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return "", errors.New("no TLS")
	}
	w, err := ident.FromCertificate(info.State.PeerCertificates[0])
	return w.Name, err
}

// Follow implements DistributionService.
func (p *script) Follow(s distributionv1.DistributionService_FollowServer) error {
	name, err := nameOf(s.Context())
	if err != nil {
		return err
	}
	first, err := s.Recv()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.hellos[name] = append(p.hellos[name], first.GetHello())
	if name != p.odd && len(p.hellos[name]) == 2 {
		if p.away--; p.away == 0 {
			close(p.back)
		}
	}
	p.mu.Unlock()
	if first.GetHello().GetRevision() == 13 {
		err := s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: &distributionv1.Heartbeat{
			Epoch: "e", Digest: sumTo(bodiesAtFirst + 2), Now: timestamppb.Now(),
		}}})
		<-s.Context().Done()
		return err
	}
	part := &distributionv1.SnapshotPart{}
	for n := range bodiesAtFirst {
		part.Resources = append(part.Resources, withBody(n))
	}
	last := sumTo(bodiesAtFirst + 2)
	if name == p.odd && p.how == "digest" {
		last = sumTo(1)
	}
	err = errors.Join(
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: "e", Revision: 10, Resources: bodiesAtFirst}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: part}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{SnapshotEnd: &distributionv1.SnapshotEnd{Digest: sumTo(bodiesAtFirst)}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{
			Epoch: "e", From: 10, To: 12, More: true, Blobs: [][]byte{bodyText(bodiesAtFirst)}, Upserts: []*distributionv1.Resource{withBody(bodiesAtFirst)},
		}}}),
		// Its body does not come with it: nodes ask.
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{
			Epoch: "e", From: 10, To: 12, Upserts: []*distributionv1.Resource{withBody(bodiesAtFirst + 1)}, Digest: sumTo(bodiesAtFirst + 2),
		}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: &distributionv1.Heartbeat{
			Epoch: "e", AdvanceTo: 13, Digest: last, Now: timestamppb.Now(),
		}}}))
	for err == nil {
		var m *distributionv1.FollowRequest
		if m, err = s.Recv(); err == nil && m.GetAck().GetRevision() == 13 {
			err = status.Error(codes.Unavailable, "once")
		}
	}
	return err
}

// FetchBlobs implements DistributionService.
func (p *script) FetchBlobs(r *distributionv1.FetchBlobsRequest, s distributionv1.DistributionService_FetchBlobsServer) error {
	name, err := nameOf(s.Context())
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.asked[name] += len(r.GetHashes())
	p.mu.Unlock()
	at := map[string]int{}
	for n := range bodiesAtFirst + 2 {
		h := sha256.Sum256(bodyText(n))
		at[string(h[:])] = n
	}
	m := &distributionv1.FetchBlobsResponse{}
	for _, h := range r.GetHashes() {
		n := at[string(h)]
		if name == p.odd && p.how == "body" {
			n++
		}
		m.Blobs = append(m.Blobs, bodyText(n))
	}
	return s.Send(m)
}

// TestSharedNodes: nodes that hold nothing themselves ask for every body, tell the digest of what they have when they come
// back, and refuse what a real node refuses.
func TestSharedNodes(t *testing.T) {
	cert, key, server := authority(t)
	for _, tt := range []struct{ name, odd, how string }{
		{"all agree", "", ""},
		{"one is given a wrong body", "sim-00005", "body"},
		{"one is told a wrong digest", "sim-00005", "digest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const nodes = 8
			p := newScript(tt.odd, tt.how, nodes)
			c := sim.Config{
				Endpoints: []string{serve(t, p, server)}, CACert: cert, CAKey: key, TrustDomain: domain, Nodes: nodes, Regions: []string{"eu"},
				Real: 2, For: time.Minute, Settle: 30 * time.Second,
			}
			if tt.odd != "" {
				c.Settle = 100 * time.Millisecond
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				select {
				case <-p.back:
					cancel()
				case <-ctx.Done():
				}
			}()
			r, err := sim.Run(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Agreed != (tt.odd == "") || r.MaxRevision != 13 {
				t.Errorf("%+v", r)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			for n := range c.Nodes {
				name := fmt.Sprintf("sim-%05d", n)
				if name == tt.odd {
					continue
				}
				if p.asked[name] != bodiesAtFirst+1 {
					t.Errorf("%s asked for %d bodies", name, p.asked[name])
				}
				if hellos := p.hellos[name]; len(hellos) < 2 || len(hellos[0].GetDigest()) > 0 || string(hellos[1].GetDigest()) != string(sumTo(bodiesAtFirst+2)) {
					t.Errorf("%s said %v", name, hellos)
				}
			}
		})
	}
}
