// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// checkMutualTLS: who has no certificate, one of another authority, another trust domain or another role, is refused by
// both ports; and a node refuses who is no control plane.
func checkMutualTLS(t *testing.T, f *fleet) {
	strangers := tlsxtest.NewCA(t, trustDomain)
	elsewhere := ident.Workload{TrustDomain: "elsewhere.example", Region: "eu", Role: ident.RoleNode, Name: "node-a"}
	past := tlsxtest.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	role := func(r ident.Role) *tlsx.Files {
		files := f.ca.Files(t, ident.Workload{Region: "eu", Role: r, Name: "somebody"})
		return &files
	}
	foreign := strangers.Files(t, ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-a"})
	otherDomain := f.ca.Files(t, elsewhere)
	expired := f.ca.Files(t, ident.Workload{Region: "eu", Role: ident.RoleNode, Name: "node-a"}, past)
	for port, roles := range map[int]map[ident.Role]bool{
		8082: {ident.RoleNode: true, ident.RoleControlPlane: true, ident.RoleAuthserver: true},
		8085: {ident.RoleNode: true, ident.RoleControlPlane: true, ident.RoleAuthserver: false},
	} {
		for r, allowed := range roles {
			if err := handshake(t, f, port, role(r)); (err == nil) != allowed {
				t.Errorf("port %d, role %s: %v, want allowed: %t", port, r, err, allowed)
			}
		}
		for name, files := range map[string]*tlsx.Files{
			"no certificate": nil, "foreign authority": &foreign, "other trust domain": &otherDomain, "expired": &expired,
		} {
			if err := handshake(t, f, port, files); err == nil {
				t.Errorf("port %d, %s: was let in", port, name)
			}
		}
	}
	t.Run("certificates of others", func(t *testing.T) { checkOwnRole(t, f, role) })
	t.Run("node of an unknown authority", func(t *testing.T) {
		g := *f
		g.t, g.dir = t, t.TempDir()
		g.certs = map[string]tlsx.Files{"node-a": {Cert: foreign.Cert, Key: foreign.Key, CA: f.certs["node-a"].CA}}
		neverReady(t, &g, address(8082+f.offset), "remote error: tls")
	})
	t.Run("node at what is no control plane", func(t *testing.T) {
		g := *f
		g.t, g.dir = t, t.TempDir()
		neverReady(t, &g, address(8085+f.offset), "TLS_PEER_REFUSED")
	})
}

// checkOwnRole: a program does not start with a certificate of another role, as which it would be taken.
func checkOwnRole(t *testing.T, f *fleet, role func(ident.Role) *tlsx.Files) {
	for _, tt := range []struct {
		name, own string
		wrong     ident.Role
		start     func(*fleet) *program
	}{
		{"node-a", "node", ident.RoleAuthserver, func(g *fleet) *program { return g.startNode("node-a") }},
		{"node-a", "node", ident.RoleControlPlane, func(g *fleet) *program { return g.startNode("node-a") }},
		{"authserver", "authserver", ident.RoleNode, (*fleet).startAuth},
		{"controlplane", "controlplane", ident.RoleAuthserver, (*fleet).startControl},
	} {
		g := *f
		g.t, g.dir, g.offset = t, t.TempDir(), freeOffset(t)
		g.database, g.secrets = "sqlite://"+g.path("controlplane.db"), "sqlite://"+g.path("authserver.db")
		g.certs = map[string]tlsx.Files{tt.name: *role(tt.wrong)}
		p := tt.start(&g)
		if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), "not one of the role "+tt.own) {
			t.Errorf("%s with the certificate of a %s: exit code %d: %s", tt.name, tt.wrong, code, p.stderr.tail())
		}
	}
}

// handshake connects, with a certificate if there is one, and returns what the server did: in TLS 1.3 a refusal arrives
// after the client's part of the handshake, in place of the server's first bytes.
func handshake(t *testing.T, f *fleet, port int, files *tlsx.Files) error {
	t.Helper()
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(f.certs["controlplane"].CA)
	if err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("read the authority: %v", err)
	}
	// The names in the certificates are SPIFFE IDs, which this client does not check.
	config := &tls.Config{InsecureSkipVerify: true, RootCAs: pool, NextProtos: []string{"h2"}}
	if files != nil {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		// Also if the server says that it would not take it.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address(port+f.offset), config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it may be broken by now
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The preface and empty settings of HTTP/2: who is let in gets the server's settings.
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return err
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil {
		return err
	}
	if head[3] != 4 {
		return fmt.Errorf("frame of type %d in place of settings", head[3])
	}
	return nil
}

// neverReady starts a third node, on ports of its own, that must not get a configuration: it tries, says why in the log,
// and stays unready.
func neverReady(t *testing.T, f *fleet, endpoint, reason string) {
	t.Helper()
	f.offset = freeOffset(t)
	p := f.startNode("node-a", "--control_plane.endpoints", endpoint)
	p.said(p.stderr, "stream ended")
	p.said(p.stderr, reason)
	if status, body := get(t, f.ops(9080)+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "VIEW_NOT_LOADED") {
		t.Errorf("/readyz: status %d, want 503: %s", status, body)
	}
	p.stop()
	if _, err := os.Stat(f.path("node-a") + "/state/recent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the node kept something: %v", err)
	}
}
