// SPDX-License-Identifier: Apache-2.0

package enroll_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/enroll/authority"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const trustDomain = "test.example"

func node(name string) ident.Workload {
	return ident.Workload{TrustDomain: trustDomain, Region: "eu", Role: ident.RoleNode, Name: name}
}

// plane is the part of a control plane that enrolls, on a real store, behind TLS in memory.
type plane struct {
	t         *testing.T
	store     *sqlstore.Store
	authority *authority.Authority
	held      *tlsx.Held
	bans      *enroll.Bans

	mu sync.Mutex
	l  *bufconn.Listener // nil while it is down
	g  *grpc.Server
	wg sync.WaitGroup
}

// known is what the root makes of the store.
type known struct{ *sqlstore.Store }

func (k known) Workload(ctx context.Context, id string) (enroll.Known, error) {
	w, err := k.Store.Workload(ctx, id)
	return enroll.Known{KeySHA256: w.KeySHA256, Banned: w.Banned}, err
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	dir := t.TempDir()
	p := &plane{t: t, held: &tlsx.Held{}}
	var err error
	p.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(dir, "controlplane.db"))
	p.must(err)
	t.Cleanup(func() { p.must(p.store.Close()) })
	p.authority, err = authority.Open(authority.Config{
		Cert: filepath.Join(dir, "ca.pem"), Key: filepath.Join(dir, "ca.key"), Create: true, TrustDomain: trustDomain,
		Lifetime: time.Hour, Now: time.Now,
	})
	p.must(err)
	p.bans = enroll.NewBans(p.store, slog.New(slog.DiscardHandler))
	p.renew()
	t.Cleanup(p.down)
	return p
}

func (p *plane) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// renew gives the control plane a new certificate of its own.
func (p *plane) renew() {
	p.t.Helper()
	cert, err := p.authority.IssueOwn(ident.Workload{TrustDomain: trustDomain, Role: ident.RoleControlPlane, Name: "cp-1"})
	p.must(err)
	p.held.Set(cert, p.authority.Trust())
}

// up serves, with a service that was started now.
func (p *plane) up(more ...func(*grpc.Server)) {
	p.t.Helper()
	s, err := enroll.New(enroll.Config{Store: known{p.store}, Authority: p.authority, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	p.must(err)
	config, err := tlsx.ServerAskingOnly(p.held, trustDomain, ident.RoleNode, ident.RoleAuthserver)
	p.must(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.UnaryInterceptor(p.bans.Unary), grpc.StreamInterceptor(p.bans.Stream))
	s.Register(g)
	for _, register := range more {
		register(g)
	}
	p.l, p.g = l, g
	p.wg.Go(func() {
		if err := g.Serve(l); err != nil {
			p.t.Error(err)
		}
	})
}

// down ends everything, as a crash does.
func (p *plane) down() {
	p.mu.Lock()
	g := p.g
	p.l, p.g = nil, nil
	p.mu.Unlock()
	if g != nil {
		g.Stop()
	}
	p.wg.Wait()
}

// dialer leads to the control plane while it is up.
func (p *plane) dialer() grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		p.mu.Lock()
		l := p.l
		p.mu.Unlock()
		if l == nil {
			return nil, errors.New("connection refused")
		}
		return l.DialContext(ctx)
	})
}

// token makes a join token.
func (p *plane) token(w ident.Workload) string {
	p.t.Helper()
	token, sha := enroll.MintToken(p.authority.Fingerprint())
	now := time.Now()
	p.must(p.store.AddJoinToken(p.t.Context(), sqlstore.JoinToken{SHA256: sha, SPIFFEID: w.URI(), Actor: "ada", Create: now, End: now.Add(time.Hour)}))
	return token
}

func (p *plane) ban(w ident.Workload) {
	p.t.Helper()
	p.must(p.store.BanWorkload(p.t.Context(), sqlstore.Ban{SPIFFEID: w.URI(), Actor: "ada"}))
	p.must(p.bans.Load(p.t.Context()))
}

// conn dials with a certificate, without one if it is nil.
func (p *plane) conn(cert *tls.Certificate) *grpc.ClientConn {
	p.t.Helper()
	config, err := tlsx.Stranger(tlsx.Known{Authorities: p.authority.Trust()}, trustDomain, ident.RoleControlPlane)
	p.must(err)
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := grpc.NewClient("passthrough:///cp", grpc.WithTransportCredentials(credentials.NewTLS(config)), p.dialer())
	p.must(err)
	p.t.Cleanup(func() { p.must(conn.Close()) })
	return conn
}

func (p *plane) client(cert *tls.Certificate) nodev1.EnrollmentServiceClient {
	p.t.Helper()
	return nodev1.NewEnrollmentServiceClient(p.conn(cert))
}

func newKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csr(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// enrolled joins a workload with a key and returns its certificate.
func (p *plane) enrolled(w ident.Workload, key *ecdsa.PrivateKey) *tls.Certificate {
	p.t.Helper()
	r, err := p.client(nil).Enroll(p.t.Context(), &nodev1.EnrollRequest{JoinToken: p.token(w), Csr: csr(p.t, key)})
	p.must(err)
	return &tls.Certificate{Certificate: r.GetCertificates(), PrivateKey: key}
}

// wantRefusal compares the code and the reason of an error.
func wantRefusal(t *testing.T, what string, err error, code codes.Code, reason string) {
	t.Helper()
	s := status.Convert(err)
	got := ""
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			got = info.GetReason()
		}
	}
	if s.Code() != code || got != reason {
		t.Errorf("%s: %v with reason %q (%s), want %v %s", what, s.Code(), got, s.Message(), code, reason)
	}
}
