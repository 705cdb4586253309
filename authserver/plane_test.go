// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

// plane is a control plane that has some resources, and bans whom the test says.
type plane struct {
	distributionv1.UnimplementedDistributionServiceServer

	resources []*distributionv1.Resource
	bans      chan string // SPIFFE ids
}

// Follow implements DistributionService.
func (p *plane) Follow(g distributionv1.DistributionService_FollowServer) error {
	if _, err := g.Recv(); err != nil {
		return err
	}
	var sum digest.Digest
	for _, r := range p.resources {
		sum.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	for _, m := range []*distributionv1.FollowResponse{
		{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: &distributionv1.SnapshotBegin{
			Epoch: "one", Revision: 1, Resources: uint64(len(p.resources)),
		}}},
		{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: &distributionv1.SnapshotPart{Resources: p.resources}}},
		{Kind: &distributionv1.FollowResponse_SnapshotEnd{SnapshotEnd: &distributionv1.SnapshotEnd{Digest: sum.Bytes()}}},
	} {
		if err := g.Send(m); err != nil {
			return err
		}
	}
	for seq := uint64(1); ; seq++ {
		select {
		case <-g.Context().Done():
			return nil
		case id := <-p.bans:
			key := sha256.Sum256([]byte(id))
			err := g.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Revocations{Revocations: &distributionv1.Revocations{
				Epoch: "one", ToSeq: seq, Entries: []*distributionv1.Revocation{{
					Kind: distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD, KeySha256: key[:], ExpireTime: timestamppb.New(time.Now().Add(time.Hour)),
				}},
			}}})
			if err != nil {
				return err
			}
		}
	}
}

// version is something of 32 bytes.
func version(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func connectionOf(name, uid string) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "connection", Name: name, Version: version(name), Body: &distributionv1.Resource_Connection{
		Connection: &resourcev1.Connection{Name: name, Uid: uid},
	}}
}

func ownConnection(name, uid, owner string) *distributionv1.Resource {
	r := connectionOf(name, uid)
	r.GetConnection().Owner = &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: owner}}
	return r
}

func userOf(name, uid string, deactivated bool) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "user", Name: name, Version: version(name), Body: &distributionv1.Resource_User{
		User: &resourcev1.User{Name: name, Uid: uid, Deactivated: deactivated},
	}}
}

func gatewayIn(name string, regions ...string) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "gateway", Name: name, Version: version(name), Body: &distributionv1.Resource_Gateway{
		Gateway: &resourcev1.Gateway{
			Name: name, Uid: "uid-" + name, Regions: regions,
			Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
		},
	}}
}

func pinOf(gateway, tool, connection string) *distributionv1.Resource {
	name := gateway + "/" + tool
	return &distributionv1.Resource{Kind: "assignment", Name: name, Version: version(name), Body: &distributionv1.Resource_Assignment{
		Assignment: &resourcev1.ToolAssignment{
			Gateway: gateway, Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: connection}},
		},
	}}
}

// dial serves the plane and returns what Config.DialControlPlane is.
func (p *plane) dial(t *testing.T) func(context.Context) ([]grpc.DialOption, error) {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer()
	distributionv1.RegisterDistributionServiceServer(g, p)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(sync.OnceFunc(func() {
		g.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it may not have begun to serve
			t.Error(err)
		}
	}))
	return func(context.Context) ([]grpc.DialOption, error) {
		return []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		}, nil
	}
}

// nowhere is a Config.DialControlPlane that leads to a control plane that is never there.
func nowhere(ctx context.Context) ([]grpc.DialOption, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
