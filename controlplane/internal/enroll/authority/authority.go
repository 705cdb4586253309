// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// ReasonFiles is the reason of every fault of [Open]: the files of the authority cannot be used (Precondition).
const ReasonFiles = "ENROLLMENT_CA_INVALID"

// skew is how far a peer's clock may be behind: certificates are good from this long before they are made.
const skew = time.Minute

// Config says where the authority is. All fields but Create and Trust are required.
type Config struct {
	// Cert and Key are the PEM files of the authority's certificates, of which the first signs and the others are trusted
	// too, and of the first one's private key.
	Cert, Key string
	// Create makes both files if neither is there.
	Create bool
	// Trust are further authorities that workloads are told to trust: the one of the control plane's own certificate, where
	// that is another.
	Trust []*x509.Certificate
	// TrustDomain is the one of all certificates.
	TrustDomain string
	// Lifetime is the time for which a certificate is good.
	Lifetime time.Duration
	Now      func() time.Time
}

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	c     Config
	cert  *x509.Certificate
	key   crypto.Signer
	trust []*x509.Certificate
}

// Open reads the files, or makes them where the settings allow that.
func Open(c Config) (*Authority, error) {
	certs, key, err := load(c)
	if err != nil {
		return nil, err
	}
	a := &Authority{c: c, cert: certs[0], key: key, trust: append(certs, c.Trust...)}
	switch public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); {
	case !a.cert.IsCA:
		return nil, a.unusable("its first certificate is no authority's")
	case !ok || !public.Equal(a.cert.PublicKey):
		return nil, a.unusable("the key does not belong to the first certificate")
	case c.Now().After(a.cert.NotAfter):
		return nil, a.unusable("its first certificate has expired")
	}
	return a, nil
}

func (a *Authority) unusable(why string) error {
	return fault.Newf(fault.Precondition, ReasonFiles, "The authority of enrollment.ca_cert (%s) cannot be used: %s.", a.c.Cert, why)
}

// TrustDomain returns the trust domain of all certificates.
func (a *Authority) TrustDomain() string { return a.c.TrustDomain }

// Lifetime returns the time for which a certificate is good.
func (a *Authority) Lifetime() time.Duration { return a.c.Lifetime }

// Trust returns the authorities that workloads trust.
func (a *Authority) Trust() []*x509.Certificate { return a.trust }

// Fingerprint returns the SHA-256 of the certificate that signs.
func (a *Authority) Fingerprint() [sha256.Size]byte { return sha256.Sum256(a.cert.Raw) }

// Issue returns the certificate of a workload for a key, DER, followed by the one that signed it: who joins with a
// fingerprint only must see it in the handshake.
func (a *Authority) Issue(w ident.Workload, public *ecdsa.PublicKey) ([][]byte, error) {
	if w.TrustDomain != a.c.TrustDomain {
		return nil, fmt.Errorf("issue certificate: %s is not of the trust domain %s", w, a.c.TrustDomain)
	}
	id, err := url.Parse(w.URI())
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.c.Now()
	end := now.Add(a.c.Lifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-skew), NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		URIs: []*url.URL{id},
	}, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return [][]byte{der, a.cert.Raw}, nil
}

// IssueOwn returns a certificate with a new key.
func (a *Authority) IssueOwn(w ident.Workload) (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	chain, err := a.Issue(w, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	return &tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, err
}

// Verify reports whether one of the authorities signed a workload's certificate, which may have expired, and returns the
// workload.
func (a *Authority) Verify(cert *x509.Certificate) (ident.Workload, error) {
	roots := x509.NewCertPool()
	for _, c := range a.trust {
		roots.AddCert(c)
	}
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: cert.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return ident.Workload{}, fmt.Errorf("verify certificate: %w", err)
	}
	w, err := ident.FromCertificate(cert)
	if err == nil && w.TrustDomain != a.c.TrustDomain {
		err = errors.New("verify certificate: another trust domain")
	}
	return w, err
}

func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // RFC 5280 section 4.1.2.2: at most 20 octets
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n, nil
}
