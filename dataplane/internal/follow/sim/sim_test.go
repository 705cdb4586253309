// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/follow/sim"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "penstock.test"

// authority makes an authority with its files, and the certificate of a control plane.
func authority(t *testing.T) (certFile, keyFile string, server tls.Certificate) {
	t.Helper()
	caKey, caDER := certificate(t, nil, nil, ident.Workload{})
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	private, err := x509.MarshalPKCS8PrivateKey(caKey)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	for path, b := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: caDER}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, der := certificate(t, ca, caKey, ident.Workload{TrustDomain: domain, Region: "eu", Role: ident.RoleControlPlane, Name: "c1"})
	return certFile, keyFile, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certificate makes a certificate of a workload, or of an authority if there is none to issue it.
func certificate(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, w ident.Workload) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	if ca == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		ca, caKey = template, key
	} else {
		id, err := url.Parse(w.URI())
		if err != nil {
			t.Fatal(err)
		}
		template.URIs, template.KeyUsage = []*url.URL{id}, x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

// plane is a control plane of one user resource, which changes a few times.
type plane struct {
	distributionv1.UnimplementedDistributionServiceServer
	odd string // a node that gets something else

	mu    sync.Mutex
	names map[string]int // streams by node
}

func user(version string) *distributionv1.Resource {
	v := sha256.Sum256([]byte(version))
	return &distributionv1.Resource{Kind: "user", Name: "ada@example.com", Version: v[:]}
}

func sum(r *distributionv1.Resource) []byte {
	var d digest.Digest
	d.Add(r.GetKind(), r.GetName(), r.GetVersion())
	return d.Bytes()
}

// Follow implements DistributionService.
func (p *plane) Follow(s distributionv1.DistributionService_FollowServer) error {
	who, _ := peer.FromContext(s.Context())
	info, ok := who.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return errors.New("no TLS")
	}
	w, err := ident.FromCertificate(info.State.PeerCertificates[0])
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.names[w.Name+" of "+w.Region]++
	p.mu.Unlock()
	if _, err := s.Recv(); err != nil {
		return err
	}
	version := "1"
	if w.Name == p.odd {
		version = "odd"
	}
	r := user(version)
	err = errors.Join(
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: "e", Revision: 10, Resources: 1}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: &distributionv1.SnapshotPart{Resources: []*distributionv1.Resource{r}}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{SnapshotEnd: &distributionv1.SnapshotEnd{Digest: sum(r)}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{Epoch: "e", From: 10, To: 11, Digest: sum(r)}}}),
		s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: &distributionv1.Heartbeat{Now: timestamppb.Now()}}}))
	if err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func serve(t *testing.T, p distributionv1.DistributionServiceServer, cert tls.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert,
	})), grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	distributionv1.RegisterDistributionServiceServer(g, p)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestRun(t *testing.T) {
	cert, key, server := authority(t)
	tests := []struct {
		name   string
		odd    string
		change func(*sim.Config)
		check  func(*testing.T, *plane, sim.Report)
	}{
		{"all agree", "", func(c *sim.Config) { c.For = 3 * time.Second }, func(t *testing.T, p *plane, r sim.Report) {
			if !r.Agreed || r.Loaded != 8 || r.Connected != 8 || r.MinRevision != 11 || r.MaxRevision != 11 || r.FullStates != 8 || r.LoadMS <= 0 {
				t.Errorf("%+v", r)
			}
			if r.Spread.Count != 1 || r.Spread.Max < r.Spread.P50 || r.RSSBytes == 0 {
				t.Errorf("%+v", r)
			}
			if len(p.names) != 8 || p.names["sim-00000 of eu"] != 1 || p.names["sim-00007 of us"] != 1 {
				t.Errorf("streams %v", p.names)
			}
		}},
		{"one has something else", "sim-00004", func(*sim.Config) {}, func(t *testing.T, _ *plane, r sim.Report) {
			if r.Agreed || r.Loaded != 8 || r.MinRevision != 11 {
				t.Errorf("%+v", r)
			}
		}},
		{"flaps", "", func(c *sim.Config) { c.Flaps = 40 }, func(t *testing.T, p *plane, r sim.Report) {
			streams := 0
			for _, n := range p.names {
				streams += n
			}
			if !r.Agreed || streams < 12 {
				t.Errorf("%d streams, %+v", streams, r)
			}
		}},
		{"slow ones", "", func(c *sim.Config) { c.Slow, c.ApplyDelay = 1, 10*time.Millisecond }, func(t *testing.T, _ *plane, r sim.Report) {
			if !r.Agreed || r.LoadMS > 0 && r.LoadMS < 100 {
				t.Errorf("%+v", r)
			}
		}},
		{"nobody answers", "", func(c *sim.Config) { c.Endpoints = []string{"127.0.0.1:1"} }, func(t *testing.T, _ *plane, r sim.Report) {
			if r.Agreed || r.Loaded != 0 || r.LoadMS != 0 || r.Connected != 0 {
				t.Errorf("%+v", r)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &plane{odd: tt.odd, names: make(map[string]int)}
			c := sim.Config{
				Endpoints: []string{serve(t, p, server)}, CACert: cert, CAKey: key, TrustDomain: domain, Nodes: 8, Regions: []string{"eu", "us"},
				Real: 2, For: 600 * time.Millisecond, Settle: 300 * time.Millisecond,
			}
			if tt.name != "one has something else" && tt.name != "nobody answers" {
				c.Settle = 30 * time.Second // what has to agree may take its time on a busy machine
			}
			tt.change(&c)
			r, err := sim.Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			tt.check(t, p, r)
		})
	}
}

func TestRefusals(t *testing.T) {
	cert, key, _ := authority(t)
	good := sim.Config{Endpoints: []string{"127.0.0.1:1"}, CACert: cert, CAKey: key, TrustDomain: domain, Nodes: 1, Regions: []string{"eu"}}
	for name, change := range map[string]func(*sim.Config){
		"no endpoint":                func(c *sim.Config) { c.Endpoints = nil },
		"no authority":               func(c *sim.Config) { c.CACert = "" },
		"an authority that is none":  func(c *sim.Config) { c.CACert = c.CAKey },
		"an authority that is away":  func(c *sim.Config) { c.CAKey = filepath.Join(t.TempDir(), "nothing") },
		"no node":                    func(c *sim.Config) { c.Nodes = 0 },
		"too many nodes":             func(c *sim.Config) { c.Nodes = 10_001 },
		"no region":                  func(c *sim.Config) { c.Regions = nil },
		"more than all nodes slow":   func(c *sim.Config) { c.Slow = 2 },
		"flaps that heal":            func(c *sim.Config) { c.Flaps = -1 },
		"a region that is no region": func(c *sim.Config) { c.Regions = []string{"e u\x7f"} },
	} {
		c := good
		change(&c)
		if _, err := sim.Run(t.Context(), c); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
}
