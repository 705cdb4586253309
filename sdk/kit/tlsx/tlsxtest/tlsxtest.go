// SPDX-License-Identifier: Apache-2.0

// Package tlsxtest issues the certificates that tests of mutual TLS need: an
// authority in memory, and workload certificates with SPIFFE IDs as files in a
// directory, in the shape that tlsx reads.
//
// Tests of every module call it, and nothing but tests. It must never be
// linked into a server: its authority protects nothing.
package tlsxtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// CA is a certificate authority for one trust domain. It is safe for
// concurrent use.
type CA struct {
	TrustDomain string

	cert *x509.Certificate
	key  crypto.Signer
}

// NewCA makes an authority, valid for a day.
func NewCA(tb testing.TB, trustDomain string) *CA {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber:          serial(tb),
		Subject:               pkix.Name{CommonName: trustDomain + " test authority"},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	fatal(tb, "create authority", err)
	cert, err := x509.ParseCertificate(der)
	fatal(tb, "parse authority", err)
	return &CA{TrustDomain: trustDomain, cert: cert, key: key}
}

// Option changes a certificate before it is signed.
type Option func(*x509.Certificate)

// Valid sets the time in which the certificate is good, instead of the hour
// from now.
func Valid(from, until time.Time) Option {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, until }
}

// Usages sets what the certificate is good for, instead of both ends of TLS.
func Usages(usages ...x509.ExtKeyUsage) Option {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
}

// URIs sets the URI names, instead of the workload's SPIFFE ID.
func URIs(uris ...string) Option {
	return func(c *x509.Certificate) {
		c.URIs = nil
		for _, raw := range uris {
			if u, err := url.Parse(raw); err == nil {
				c.URIs = append(c.URIs, u)
			}
		}
	}
}

// Issue makes a certificate for the workload (its trust domain, when empty,
// is the authority's) and writes cert.pem, key.pem (0600) and ca.pem into
// dir, which is created when missing. Each file is replaced in one step, so
// that a running process can be given new ones.
func (ca *CA) Issue(tb testing.TB, dir string, w ident.Workload, options ...Option) tlsx.Files {
	tb.Helper()
	if w.TrustDomain == "" {
		w.TrustDomain = ca.TrustDomain
	}
	id, err := url.Parse(w.URI())
	fatal(tb, "parse SPIFFE ID", err)
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: serial(tb),
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:         []*url.URL{id},
	}
	for _, o := range options {
		o(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	fatal(tb, "create certificate", err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	fatal(tb, "encode key", err)

	fatal(tb, "create directory", os.MkdirAll(dir, 0o700))
	f := tlsx.Files{
		Cert: filepath.Join(dir, "cert.pem"),
		Key:  filepath.Join(dir, "key.pem"),
		CA:   filepath.Join(dir, "ca.pem"),
	}
	write(tb, f.Key, "PRIVATE KEY", private)
	write(tb, f.Cert, "CERTIFICATE", der)
	write(tb, f.CA, "CERTIFICATE", ca.cert.Raw)
	return f
}

// Files is [CA.Issue] into a directory of the test's own.
func (ca *CA) Files(tb testing.TB, w ident.Workload, options ...Option) tlsx.Files {
	tb.Helper()
	return ca.Issue(tb, tb.TempDir(), w, options...)
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(tb, "create key", err)
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	fatal(tb, "create serial number", err)
	return n
}

func write(tb testing.TB, path, kind string, der []byte) {
	tb.Helper()
	next := path + ".next"
	fatal(tb, "write file", os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	fatal(tb, "replace file", os.Rename(next, path))
}

func fatal(tb testing.TB, what string, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}
