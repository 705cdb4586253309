// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

// plane is a control plane that has some resources, Ada's connection among them, and takes versions of its credential.
type plane struct {
	distributionv1.UnimplementedDistributionServiceServer
	directoryv1.UnimplementedDirectoryServiceServer

	resources []*distributionv1.Resource

	mu       sync.Mutex // guards what follows, and resources once somebody follows
	versions []string
	revision uint64
	changed  chan struct{} // closed by the next change
}

// Follow implements DistributionService.
func (p *plane) Follow(g distributionv1.DistributionService_FollowServer) error {
	if _, err := g.Recv(); err != nil {
		return err
	}
	for {
		changed, err := p.snapshot(g)
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-g.Context().Done():
			return nil
		}
	}
}

// snapshot sends everything there is.
func (p *plane) snapshot(g distributionv1.DistributionService_FollowServer) (changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum digest.Digest
	for _, r := range p.resources {
		sum.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	for _, m := range []*distributionv1.FollowResponse{
		{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: &distributionv1.SnapshotBegin{
			Epoch: "one", Revision: p.revision + 1, Resources: uint64(len(p.resources)),
		}}},
		{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: &distributionv1.SnapshotPart{Resources: p.resources}}},
		{Kind: &distributionv1.FollowResponse_SnapshotEnd{SnapshotEnd: &distributionv1.SnapshotEnd{Digest: sum.Bytes()}}},
	} {
		if err := g.Send(m); err != nil {
			return nil, err
		}
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed, nil
}

// change makes a resource another one, for everybody who follows.
func (p *plane) change(kind, name string, r *distributionv1.Resource) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", kind, name, p.revision))
	r.Kind, r.Name, r.Version = kind, name, sum[:]
	p.resources = slices.Clone(p.resources)
	p.resources[slices.IndexFunc(p.resources, func(one *distributionv1.Resource) bool { return one.GetKind() == kind && one.GetName() == name })] = r
	close(p.changed)
	p.changed = make(chan struct{})
}

// ConnectServer implements DirectoryService.
func (p *plane) ConnectServer(_ context.Context, m *directoryv1.ConnectServerRequest) (*directoryv1.ConnectServerResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := m.GetCredentialVersion(); v != "" {
		p.versions = append(p.versions, v)
	}
	return &directoryv1.ConnectServerResponse{ConnectionUid: connectionUID, Connection: "ada-tasks"}, nil
}

// version is the one that counts.
func (p *plane) version(t *testing.T) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.versions) == 0 {
		t.Fatal("nothing was connected")
	}
	return p.versions[len(p.versions)-1]
}

func (p *plane) put(kind, name string, r *distributionv1.Resource) {
	sum := sha256.Sum256([]byte(kind + "/" + name))
	r.Kind, r.Name, r.Version = kind, name, sum[:]
	p.resources = append(p.resources, r)
}

// newPlane has Ada, a gateway, and the server tasks with a way to give a grant.
func newPlane(mcp string, oauth *resourcev1.OAuthCredential) *plane {
	return planeWith(mcp, &resourcev1.User{Name: adaName, Uid: adaUID}, &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_Oauth{Oauth: oauth}})
}

// planeWith has Ada, a gateway, and the server tasks with a kind of credential.
func planeWith(mcp string, ada *resourcev1.User, credential *resourcev1.ServerCredential) *plane {
	p := new(plane)
	p.put("user", adaName, &distributionv1.Resource{Body: &distributionv1.Resource_User{User: ada}})
	p.put("gateway", "eng", &distributionv1.Resource{Body: &distributionv1.Resource_Gateway{Gateway: &resourcev1.Gateway{
		Name: "eng", Uid: "uid-eng", Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
	}}})
	p.put("server", "tasks", &distributionv1.Resource{Body: &distributionv1.Resource_Server{Server: &resourcev1.Server{
		Name: "tasks", Uid: serverUID, DisplayName: "Tasks",
		Transport:  &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: mcp}},
		Credential: credential,
	}}})
	p.put("connection", "ada-tasks", &distributionv1.Resource{Body: &distributionv1.Resource_Connection{Connection: &resourcev1.Connection{
		Name: "ada-tasks", Uid: connectionUID, Server: "tasks", Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: adaName}},
	}}})
	return p
}

// serve serves the plane and returns what authserver.Config.DialControlPlane is.
func (p *plane) serve(t *testing.T) func(context.Context) ([]grpc.DialOption, error) {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer()
	distributionv1.RegisterDistributionServiceServer(g, p)
	directoryv1.RegisterDirectoryServiceServer(g, p)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return func(context.Context) ([]grpc.DialOption, error) {
		return []grpc.DialOption{
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		}, nil
	}
}
