// SPDX-License-Identifier: Apache-2.0

package enroll_test

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/member"
)

// config is that of a member of the plane's fleet.
func (p *plane) config(dir, token string) member.Config {
	return member.Config{
		Endpoints: []string{"passthrough:///cp"}, TrustDomain: trustDomain, Role: ident.RoleNode, Dir: dir, Token: obs.Secret(token),
		DialOptions: []grpc.DialOption{p.dialer()}, Log: slog.New(slog.DiscardHandler),
	}
}

// run runs a member until the returned function is called.
func run(t *testing.T, m *member.Member) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// call makes a call with the member's certificate, as its node stream would be made: a new connection.
func (p *plane) call(m *member.Member) error {
	config, err := tlsx.Client(m.Source(), trustDomain, ident.RoleControlPlane)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///cp", grpc.WithTransportCredentials(credentials.NewTLS(config)), p.dialer())
	if err != nil {
		return err
	}
	defer func() { p.must(conn.Close()) }()
	// It is answered with a refusal that only a peer with a certificate gets: what follows the handshake is not what is tested.
	_, err = nodev1.NewEnrollmentServiceClient(conn).Renew(p.t.Context(), &nodev1.RenewRequest{Csr: []byte("x")})
	if strings.Contains(fmt.Sprint(err), "certificate signing request") {
		return nil
	}
	return err
}

// Failure row 13 (D-81): a whole fleet with certificates of an hour comes back after the control plane was down for three,
// without new join tokens; and so does a node that was restarted meanwhile, and an authserver.
func TestCertificatesExpireWhileTheControlPlaneIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		p.up()
		dir := t.TempDir()
		var members []*member.Member
		var stops []func()
		for i := range 6 {
			c := p.config(filepath.Join(dir, fmt.Sprint(i)), p.token(node(fmt.Sprint("n", i))))
			if i == 1 {
				c.Role = ident.RoleAuthserver
				c.Token = obs.Secret(p.token(ident.Workload{TrustDomain: trustDomain, Role: ident.RoleAuthserver, Name: "as"}))
			}
			m, err := member.Open(t.Context(), c)
			p.must(err)
			members, stops = append(members, m), append(stops, run(t, m))
		}
		first := members[0].NotAfter()
		time.Sleep(40 * time.Minute)
		synctest.Wait()
		for i, m := range members {
			// Renewed at half its life, a little earlier by chance.
			if left := time.Until(m.NotAfter()); left < 43*time.Minute || left > 51*time.Minute {
				t.Errorf("member %d: %s left after 40 minutes", i, left)
			}
		}
		p.down()
		time.Sleep(3 * time.Hour)
		for i, m := range members {
			if time.Until(m.NotAfter()) > 0 {
				t.Fatalf("member %d got a certificate from nobody", i)
			}
		}
		// One is restarted while it can reach nobody; its token is long over.
		stops[2]()
		restarted, err := member.Open(t.Context(), p.config(filepath.Join(dir, "2"), ""))
		p.must(err)
		members[2], stops[2] = restarted, run(t, restarted)
		time.Sleep(time.Minute)

		p.renew() // a control plane makes its own certificate at its start
		p.up()
		began := time.Now()
		time.Sleep(20 * time.Second) // the longest backoff is 15 s (D-40)
		synctest.Wait()
		for i, m := range members {
			if err := p.call(m); err != nil || !m.NotAfter().After(first.Add(3*time.Hour)) {
				t.Errorf("member %d, %s after the control plane came back: %v", i, time.Since(began), err)
			}
		}
		for _, stop := range stops {
			stop()
		}
	})
}

// A node that cannot reach a control plane at its first start tries until it can; what it has is for its owner alone.
func TestJoinWhenThereIsSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		dir := filepath.Join(t.TempDir(), "identity")
		opened := make(chan *member.Member, 1)
		token := p.token(node("n1"))
		go func() {
			m, err := member.Open(t.Context(), p.config(dir, token))
			p.must(err)
			opened <- m
		}()
		time.Sleep(10 * time.Minute)
		if len(opened) > 0 || member.Exists(dir) {
			t.Fatal("joined nobody")
		}
		p.up()
		m := <-opened
		if m.Workload() != node("n1") || !member.Exists(dir) {
			t.Errorf("joined as %s", m.Workload())
		}
		p.must(p.call(m))
		for _, name := range []string{"key.pem", "certificate.pem", "authorities.pem"} {
			info, err := os.Stat(filepath.Join(dir, name))
			p.must(err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the folder: %v, %v", info.Mode(), err)
		}
	})
}

// Whom a member does not join, and what it refuses to start with.
func TestMemberRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		p.up()
		good := p.token(node("n1"))
		secret, _, _ := strings.Cut(good, ".")
		elsewhere := sha256.Sum256([]byte("another authority"))
		authserver := p.token(ident.Workload{TrustDomain: trustDomain, Role: ident.RoleAuthserver, Name: "as"})
		kept := t.TempDir()
		_, err := member.Open(t.Context(), p.config(kept, p.token(node("kept"))))
		p.must(err)
		damaged := t.TempDir()
		p.must(os.WriteFile(filepath.Join(damaged, "key.pem"), []byte("x"), 0o600))
		swapped := t.TempDir()
		p.must(os.CopyFS(swapped, os.DirFS(kept)))
		other := t.TempDir()
		_, err = member.Open(t.Context(), p.config(other, p.token(node("other"))))
		p.must(err)
		key, err := os.ReadFile(filepath.Join(other, "key.pem"))
		p.must(err)
		p.must(os.WriteFile(filepath.Join(swapped, "key.pem"), key, 0o600))
		for _, tt := range []struct {
			name, reason string
			config       member.Config
		}{
			{"neither certificate nor token", member.ReasonNotEnrolled, p.config(t.TempDir(), "")},
			{"a token without a fingerprint", member.ReasonToken, p.config(t.TempDir(), secret)},
			{"no token at all", member.ReasonToken, p.config(t.TempDir(), "pjt_x.y")},
			{"an unknown token", "JOIN_TOKEN_UNKNOWN", p.config(t.TempDir(), unknown(p))},
			{"a token of another role", member.ReasonAnswer, p.config(t.TempDir(), authserver)},
			{"a damaged key", member.ReasonFolder, p.config(damaged, good)},
			{"a key of another certificate", member.ReasonFolder, p.config(swapped, good)},
			{"a certificate of another trust domain", member.ReasonFolder, func() member.Config {
				c := p.config(kept, "")
				c.TrustDomain = "elsewhere.example"
				return c
			}()},
			{"a token file that is not there", member.ReasonNotEnrolled, func() member.Config {
				c := p.config(t.TempDir(), "")
				c.TokenFile = filepath.Join(kept, "none")
				return c
			}()},
		} {
			_, err := member.Open(t.Context(), tt.config)
			if f := fault.From(err); err == nil || f.Reason != tt.reason || strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.reason)
			}
		}

		// A control plane that is not the token's is not told the token, and there is no other.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stolen := secret + "." + base64.RawURLEncoding.EncodeToString(elsewhere[:])
		if _, err := member.Open(ctx, p.config(t.TempDir(), stolen)); err == nil {
			t.Error("joined a control plane of another authority")
		}
		if _, err := member.Open(t.Context(), p.config(t.TempDir(), good)); err != nil {
			t.Errorf("the token was used up: %v", err)
		}
	})
}

func unknown(p *plane) string {
	token, _ := enroll.MintToken(p.authority.Fingerprint())
	return token
}

// A ban ends renewal, and a token file with the authority's file beside it serves as well as a token.
func TestBannedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		p.up()
		dir := t.TempDir()
		c := p.config(filepath.Join(dir, "identity"), "")
		c.TokenFile, c.CA = filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
		p.must(os.WriteFile(c.TokenFile, []byte(p.token(node("n1"))+"\n"), 0o600))
		p.must(os.WriteFile(c.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.authority.Trust()[0].Raw}), 0o600))
		m, err := member.Open(t.Context(), c)
		p.must(err)
		stop := run(t, m)
		p.must(os.Remove(c.TokenFile))
		last := m.NotAfter()
		p.ban(node("n1"))
		time.Sleep(2 * time.Hour)
		if !m.NotAfter().Equal(last) {
			t.Error("a banned member got a new certificate")
		}
		stop()
		_, err = p.client(nil).Renew(t.Context(), &nodev1.RenewRequest{Csr: csr(t, newKey(t, elliptic.P256()))})
		if err == nil {
			t.Error("renewed without anything")
		}
		if _, err := member.Open(t.Context(), c); err != nil { // it is there, though nobody takes it
			t.Error(err)
		}
	})
}

// A ban ends the streams of one workload with a reason, and of no other.
func TestBanEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		watch := func(_ any, g grpc.ServerStream) error {
			p.must(g.SendHeader(nil))
			<-g.Context().Done()
			return context.Cause(g.Context())
		}
		p.serveStream(watch)
		open := func(name string) grpc.ClientStream {
			cert, err := p.authority.IssueOwn(node(name))
			p.must(err)
			s, err := p.conn(cert).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/test.Service/Watch")
			p.must(err)
			_, err = s.Header()
			p.must(err)
			return s
		}
		first, second, other := open("n1"), open("n1"), open("n2")
		p.ban(node("n1"))
		for _, s := range []grpc.ClientStream{first, second} {
			wantRefusal(t, "a stream of who is banned", s.RecvMsg(&nodev1.RenewResponse{}), codes.PermissionDenied, enroll.ReasonBanned)
		}
		if len(p.bans.List()) != 1 || other.Context().Err() != nil {
			t.Errorf("banned %q; the other stream: %v", p.bans.List(), other.Context().Err())
		}
		p.conn(nil)
		s, err := p.conn(nil).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/test.Service/Watch")
		p.must(err)
		wantRefusal(t, "a stream without a certificate", s.RecvMsg(&nodev1.RenewResponse{}), codes.Unauthenticated, "NO_IDENTITY")
	})
}

// serveStream serves one stream behind the guard.
func (p *plane) serveStream(handle grpc.StreamHandler) {
	p.t.Helper()
	p.up(func(g *grpc.Server) {
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: "test.Service", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{StreamName: "Watch", Handler: handle, ServerStreams: true}},
		}, nil)
	})
}
