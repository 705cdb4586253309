// SPDX-License-Identifier: Apache-2.0

package tlsx_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "penstock.test"

func node(name string) ident.Workload {
	return ident.Workload{Region: "eu", Role: ident.RoleNode, Name: name}
}

func controlPlane() ident.Workload {
	return ident.Workload{Role: ident.RoleControlPlane, Name: "c1"}
}

// pair returns the two ends of a loopback connection. A pipe in memory will
// not do: with a resumed session both sides write before they read.
func pair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	_, _ = server.SetDeadline(deadline), client.SetDeadline(deadline)
	return server, client
}

// handshake runs both sides and returns their errors and what the server
// sees. A TLS 1.3 client learns of a refusal only when it reads.
func handshake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := pair(t)
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		done <- errors.Join(err, a.Close())
	}()
	clientErr = c.HandshakeContext(t.Context())
	if clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	_ = b.Close()
	serverErr = <-done
	return s.ConnectionState(), serverErr, clientErr
}

func configs(t *testing.T, server, client tlsx.Files) (*tls.Config, *tls.Config) {
	t.Helper()
	s, err := tlsx.Server(server, domain, ident.RoleNode, ident.RoleAuthserver)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlsx.Client(client, domain, ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestBothSidesKnowEachOther(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	s, c := configs(t, ca.Files(t, controlPlane()), ca.Files(t, node("n1")))
	state, serverErr, clientErr := handshake(t, s, c)
	if serverErr != nil || clientErr != nil {
		t.Fatalf("server %v, client %v", serverErr, clientErr)
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("version %x", state.Version)
	}
	w, err := tlsx.Peer(state)
	if err != nil || w.URI() != "spiffe://penstock.test/region/eu/node/n1" {
		t.Errorf("peer %v, %v", w, err)
	}
}

// Distribution design D-80: who connects is who the certificate says, and
// nobody connects without one.
func TestServerRefusesClients(t *testing.T) {
	ca, other := tlsxtest.NewCA(t, domain), tlsxtest.NewCA(t, domain)
	hour := time.Hour
	for _, tc := range []struct {
		name  string
		files func(t *testing.T) tlsx.Files
		kind  fault.Kind
	}{
		{"another authority", func(t *testing.T) tlsx.Files { return withCA(other.Files(t, node("n")), ca.Files(t, node("n"))) }, fault.Unauthenticated},
		{"expired", func(t *testing.T) tlsx.Files {
			return ca.Files(t, node("n"), tlsxtest.Valid(time.Now().Add(-2*hour), time.Now().Add(-hour)))
		}, fault.Unauthenticated},
		{"not valid yet", func(t *testing.T) tlsx.Files {
			return ca.Files(t, node("n"), tlsxtest.Valid(time.Now().Add(hour), time.Now().Add(2*hour)))
		}, fault.Unauthenticated},
		{"only for servers", func(t *testing.T) tlsx.Files {
			return ca.Files(t, node("n"), tlsxtest.Usages(x509.ExtKeyUsageServerAuth))
		}, fault.Unauthenticated},
		{"another role", func(t *testing.T) tlsx.Files { return ca.Files(t, controlPlane()) }, fault.Denied},
		{"another trust domain", func(t *testing.T) tlsx.Files {
			return ca.Files(t, ident.Workload{TrustDomain: "elsewhere.test", Region: "eu", Role: ident.RoleNode, Name: "n"})
		}, fault.Denied},
		{"no SPIFFE ID", func(t *testing.T) tlsx.Files { return ca.Files(t, node("n"), tlsxtest.URIs()) }, fault.Invalid},
		{"two IDs", func(t *testing.T) tlsx.Files {
			return ca.Files(t, node("n"), tlsxtest.URIs("spiffe://penstock.test/region/eu/node/n", "spiffe://penstock.test/region/eu/node/m"))
		}, fault.Invalid},
		{"an ID of no workload", func(t *testing.T) tlsx.Files {
			return ca.Files(t, node("n"), tlsxtest.URIs("spiffe://penstock.test/admin"))
		}, fault.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := configs(t, ca.Files(t, controlPlane()), tc.files(t))
			_, serverErr, clientErr := handshake(t, s, c)
			if fault.KindOf(serverErr) != tc.kind || clientErr == nil {
				t.Errorf("server %v, client %v; want the server to refuse as %s", serverErr, clientErr, tc.kind)
			}
		})
	}
}

// withCA lets a client trust the server while it shows a foreign certificate.
func withCA(shows, trusts tlsx.Files) tlsx.Files {
	shows.CA = trusts.CA
	return shows
}

func TestServerRefusesClientsWithoutCertificateOrTLS13(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	s, c := configs(t, ca.Files(t, controlPlane()), ca.Files(t, node("n")))
	none := c.Clone()
	none.GetClientCertificate = nil
	if _, serverErr, clientErr := handshake(t, s, none); serverErr == nil || clientErr == nil {
		t.Errorf("no certificate: server %v, client %v", serverErr, clientErr)
	}
	old := c.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, serverErr, clientErr := handshake(t, s, old); serverErr == nil || clientErr == nil {
		t.Errorf("TLS 1.2: server %v, client %v", serverErr, clientErr)
	}
}

func TestClientRefusesServers(t *testing.T) {
	ca, other := tlsxtest.NewCA(t, domain), tlsxtest.NewCA(t, domain)
	for _, tc := range []struct {
		name   string
		server tlsx.Files
		kind   fault.Kind
	}{
		{"a node in its place", ca.Files(t, node("n2")), fault.Denied},
		{"another authority", withCA(other.Files(t, controlPlane()), ca.Files(t, controlPlane())), fault.Unauthenticated},
		{"only for clients", ca.Files(t, controlPlane(), tlsxtest.Usages(x509.ExtKeyUsageClientAuth)), fault.Unauthenticated},
		{"another trust domain", ca.Files(t, ident.Workload{TrustDomain: "elsewhere.test", Role: ident.RoleControlPlane, Name: "c"}), fault.Denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, c := configs(t, tc.server, ca.Files(t, node("n1")))
			_, serverErr, clientErr := handshake(t, s, c)
			if fault.KindOf(clientErr) != tc.kind || serverErr == nil {
				t.Errorf("server %v, client %v; want the client to refuse as %s", serverErr, clientErr, tc.kind)
			}
		})
	}
}

func TestHTTPServerAndClient(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	s, c := configs(t, ca.Files(t, controlPlane()), ca.Files(t, node("n1")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{TLSConfig: s, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := tlsx.Peer(*r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		if peer.Name != "n1" || r.ProtoMajor != 2 {
			http.Error(w, "another peer or protocol", http.StatusForbidden)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	defer func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if body, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK {
		t.Errorf("got %d %q", r.StatusCode, body)
	}
}

// A session ticket must not outlive the trust in the authority.
func TestResumedConnectionsAreVerifiedAgain(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	serverDir := t.TempDir()
	serverFiles := ca.Issue(t, serverDir, controlPlane())
	s, c := configs(t, serverFiles, ca.Files(t, node("n1")))
	c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	c.ServerName = "controlplane" // the key of the cache
	for i, want := range []bool{false, true} {
		state, serverErr, clientErr := handshake(t, s, c)
		if serverErr != nil || clientErr != nil || state.DidResume != want {
			t.Fatalf("connection %d: resumed %t, server %v, client %v", i, state.DidResume, serverErr, clientErr)
		}
	}
	// The same server, which now trusts only another authority.
	strict, err := tlsx.Server(withCA(serverFiles, tlsxtest.NewCA(t, domain).Files(t, node("x"))), domain, ident.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	s.VerifyConnection = strict.VerifyConnection
	if _, serverErr, _ := handshake(t, s, c); fault.KindOf(serverErr) != fault.Unauthenticated {
		t.Errorf("resumed under an authority that is trusted no more: %v", serverErr)
	}
}

func TestRefusedFiles(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	good := ca.Files(t, node("n"))
	second, nobody := ca.Files(t, node("m")), ca.Files(t, node("m"), tlsxtest.URIs())
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("-----BEGIN CERTIFICATE-----\nnonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		files tlsx.Files
		says  string
	}{
		{"no certificate file", tlsx.Files{Cert: "/nowhere/cert.pem", Key: good.Key, CA: good.CA}, "/nowhere/cert.pem"},
		{"no key file", tlsx.Files{Cert: good.Cert, Key: "/nowhere/key.pem", CA: good.CA}, "/nowhere/key.pem"},
		{"no authorities", tlsx.Files{Cert: good.Cert, Key: good.Key, CA: "/nowhere/ca.pem"}, "/nowhere/ca.pem"},
		{"nothing set", tlsx.Files{}, "file"},
		{"half-written certificate", tlsx.Files{Cert: bad, Key: good.Key, CA: good.CA}, bad},
		{"key of another certificate", tlsx.Files{Cert: good.Cert, Key: second.Key, CA: good.CA}, second.Key},
		{"authorities without a certificate", tlsx.Files{Cert: good.Cert, Key: good.Key, CA: bad}, bad},
		{"certificate of another role", tlsx.Files{Cert: good.Cert, Key: good.Key, CA: good.CA, Role: ident.RoleAuthserver}, "not one of the role authserver"},
		{"certificate of no role", tlsx.Files{Cert: nobody.Cert, Key: nobody.Key, CA: good.CA, Role: ident.RoleNode}, nobody.Cert},
		{"a key in place of authorities", tlsx.Files{Cert: good.Cert, Key: good.Key, CA: good.Key}, good.Key},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, serverErr := tlsx.Server(tc.files, domain, ident.RoleNode)
			_, clientErr := tlsx.Client(tc.files, domain, ident.RoleControlPlane)
			for _, err := range []error{serverErr, clientErr} {
				f := fault.From(err)
				if f == nil || f.Kind != fault.Precondition || f.Reason != tlsx.ReasonFiles || !strings.Contains(f.Public, tc.says) {
					t.Errorf("got %v, want it to name %s", err, tc.says)
				}
			}
		})
	}
	good.Role = ident.RoleNode
	if _, err := tlsx.Server(good, domain, ident.RoleNode); err != nil {
		t.Errorf("the right role: %v", err)
	}
	if _, err := tlsx.Server(good, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no trust domain: %v", err)
	}
	if _, err := tlsx.Server(good, domain); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no roles: %v", err)
	}
	if _, err := tlsx.Client(good, domain, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("no peer role: %v", err)
	}
	if _, err := tlsx.Peer(tls.ConnectionState{}); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("no peer: %v", err)
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	ca := tlsxtest.NewCA(t, domain)
	_, c := configs(t, ca.Files(t, controlPlane()), ca.Files(t, node("n")))
	a, b := pair(t) // nobody answers on a
	defer func() { _, _ = a.Close(), b.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tls.Client(b, c).HandshakeContext(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
