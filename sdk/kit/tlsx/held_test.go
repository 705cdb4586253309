// SPDX-License-Identifier: Apache-2.0

package tlsx_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

// load reads files as what a Held is filled with, the authority behind the certificate.
func load(t *testing.T, f tlsx.Files) (*tls.Certificate, *x509.Certificate) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pair.Certificate = append(pair.Certificate, authority.Raw)
	return &pair, authority
}

// shake makes one handshake and returns whom the server saw, and what went wrong on either side.
func shake(t *testing.T, server, client *tls.Config) (ident.Workload, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would wait for who reads the tickets and alerts after a handshake
	if err != nil {
		t.Fatal(err)
	}
	ours, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()                                           // it has done its work
	defer func() { _ = ours.Close(); _ = theirs.Close() }() // it may be broken by now
	s := tls.Server(theirs, server)
	ended := make(chan error, 1)
	go func() {
		err := s.HandshakeContext(t.Context())
		if err != nil {
			_ = theirs.Close() // so that the client does not wait
		}
		ended <- err
	}()
	c := tls.Client(ours, client)
	err = c.HandshakeContext(t.Context())
	if err != nil {
		_ = ours.Close()
	}
	if serverErr := <-ended; err == nil {
		err = serverErr
	}
	if err != nil {
		return ident.Workload{}, err
	}
	return tlsx.Peer(s.ConnectionState())
}

// Held takes a new certificate and new authorities up at the next handshake; a server that only asks lets strangers in without
// an identity; a stranger knows the server by its authority, or by that one's hash.
func TestHeldAndStrangers(t *testing.T) {
	first, second := tlsxtest.NewCA(t, "td"), tlsxtest.NewCA(t, "td")
	plane := ident.Workload{Role: ident.RoleControlPlane, Name: "c"}
	node := ident.Workload{TrustDomain: "td", Role: ident.RoleNode, Name: "n"}
	held := &tlsx.Held{}
	if _, err := tlsx.Server(held, "td", ident.RoleNode); fault.From(err).Reason != tlsx.ReasonFiles {
		t.Errorf("an empty source: %v", err)
	}
	cert, authority := load(t, first.Files(t, plane))
	held.Set(cert, []*x509.Certificate{authority})
	strict, err := tlsx.Server(held, "td", ident.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	asking, err := tlsx.ServerAskingOnly(held, "td", ident.RoleNode)
	if err != nil {
		t.Fatal(err)
	}
	member, err := tlsx.Client(first.Files(t, node), "td", ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	stranger := func(k tlsx.Known, domain string) *tls.Config {
		config, err := tlsx.Stranger(k, domain, ident.RoleControlPlane)
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	sum := sha256.Sum256(authority.Raw)
	byHash, byCert := tlsx.Known{SHA256: sum[:]}, tlsx.Known{Authorities: []*x509.Certificate{authority}}
	leaf := sha256.Sum256(cert.Certificate[0])

	if w, err := shake(t, asking, member); err != nil || w != node {
		t.Errorf("a member at a server that asks: %s, %v", w, err)
	}
	for name, k := range map[string]tlsx.Known{"by the hash": byHash, "by the certificate": byCert} {
		if w, err := shake(t, asking, stranger(k, "td")); fault.KindOf(err) != fault.Unauthenticated || w != (ident.Workload{}) {
			t.Errorf("a stranger that knows the server %s: %s, %v, want to be let in as nobody", name, w, err)
		}
		if _, err := shake(t, strict, stranger(k, "td")); err == nil {
			t.Errorf("a stranger at a strict server, %s, was let in", name)
		}
		if _, err := shake(t, asking, stranger(k, "other")); err == nil || fault.From(err).Reason != tlsx.ReasonPeer {
			t.Errorf("a server of another trust domain, %s: %v", name, err)
		}
	}
	if _, err := shake(t, asking, stranger(tlsx.Known{SHA256: leaf[:]}, "td")); err == nil {
		t.Error("a server was known by its own certificate in place of its authority's")
	}
	wrong, err := tlsx.Client(second.Files(t, node), "td", ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shake(t, asking, wrong); err == nil {
		t.Error("a certificate of another authority was let in where none is demanded")
	}

	cert, authority = load(t, second.Files(t, plane))
	held.Set(cert, []*x509.Certificate{authority})
	if w, err := shake(t, strict, wrong); err != nil || w != node {
		t.Errorf("after the exchange: %s, %v", w, err)
	}
	if _, err := shake(t, strict, member); err == nil {
		t.Error("the authority before is still trusted")
	}
	if _, err := tlsx.Stranger(tlsx.Known{}, "td", ident.RoleControlPlane); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a stranger that knows nobody: %v", err)
	}
}
