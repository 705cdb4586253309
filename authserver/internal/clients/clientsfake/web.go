// SPDX-License-Identifier: Apache-2.0

package clientsfake

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// Web is HTTPS hosts that all live on one loopback port. It is safe for concurrent use.
type Web struct {
	// Egress resolves the names of the hosts and lets their loopback address pass, and nothing else.
	Egress egress.Policy
	// RootCAs is the authority of the hosts' certificate.
	RootCAs *x509.CertPool

	port string

	mu          sync.Mutex
	handlers    map[string]http.HandlerFunc // by host and path
	requests    map[string]int
	connections int
	asked       []string
	extra       map[string][]netip.Addr
}

// New starts a web with hosts of the given names; each name may begin with "*.". It ends with the test. 127.0.0.1 is a
// host, too.
func New(t testing.TB, names ...string) *Web {
	t.Helper()
	w := &Web{handlers: map[string]http.HandlerFunc{}, requests: map[string]int{}, extra: map[string][]netip.Addr{}}
	cert, pool, err := certificate(names)
	if err != nil {
		t.Fatal(err)
	}
	w.RootCAs = pool
	server := httptest.NewUnstartedServer(http.HandlerFunc(w.serve))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	server.Config.ErrorLog = nil
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.connections++
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, w.port, _ = net.SplitHostPort(server.Listener.Addr().String())
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w.Egress = egress.Policy{Resolver: w}
	for _, name := range append(names, "127.0.0.1") {
		w.Egress.Exceptions = append(w.Egress.Exceptions, egress.Exception{Host: name, Prefixes: loopback})
	}
	return w
}

// URL returns the URL of a path at a host: https://client.example:34567/oauth/c.json.
func (w *Web) URL(host, path string) string { return "https://" + host + ":" + w.port + path }

// Handle serves a URL of [Web.URL].
func (w *Web) Handle(url string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handlers[strings.TrimPrefix(url, "https://")] = h
}

// Serve serves a text at a URL, as application/json.
func (w *Web) Serve(url, text string) {
	w.Handle(url, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(text))
	})
}

// Name gives a name other addresses than 127.0.0.1.
func (w *Web) Name(name string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.extra[name] = append(w.extra[name], netip.MustParseAddr(a))
	}
}

// Requests returns how often a URL was asked for.
func (w *Web) Requests(url string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[strings.TrimPrefix(url, "https://")]
}

// Connections returns how many connections were made, to all hosts.
func (w *Web) Connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connections
}

// Asked returns the names that were resolved.
func (w *Web) Asked() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.asked...)
}

// LookupNetIP implements [egress.Resolver].
func (w *Web) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, host)
	if addrs, ok := w.extra[host]; ok {
		return addrs, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (w *Web) serve(rw http.ResponseWriter, r *http.Request) {
	key := r.Host + r.URL.EscapedPath()
	w.mu.Lock()
	w.requests[key]++
	h := w.handlers[key]
	w.mu.Unlock()
	if h == nil {
		http.NotFound(rw, r)
		return
	}
	h(rw, r)
}

// certificate makes an authority and a certificate of it for the names and 127.0.0.1.
func certificate(names []string) (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test web"}, DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("make a certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, fmt.Errorf("read a certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool, nil
}
