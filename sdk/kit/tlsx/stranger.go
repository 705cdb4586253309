// SPDX-License-Identifier: Apache-2.0

package tlsx

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Known is by what a process that has no certificate yet, or none that still
// counts, knows whom it may trust.
type Known struct {
	// Authorities are trusted as they are.
	Authorities []*x509.Certificate
	// SHA256, if set, is the SHA-256 of an authority's certificate, which the
	// server then sends along in the handshake.
	SHA256 []byte
}

// Stranger returns a configuration like that of [Client], but without a
// certificate of its own: for enrollment (D-81). The fault is Invalid when
// trustDomain or peer is empty, or nothing is known.
func Stranger(k Known, trustDomain string, peer ident.Role) (*tls.Config, error) {
	if trustDomain == "" || peer == "" || len(k.Authorities) == 0 && len(k.SHA256) != sha256.Size {
		return nil, fault.New(fault.Invalid, ReasonPeer, "A peer without a certificate needs a trust domain, a role and something to know the other side by.")
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // verified by VerifyConnection, as in Client
		VerifyConnection: func(cs tls.ConnectionState) error {
			m := &material{roots: x509.NewCertPool()}
			for _, c := range k.Authorities {
				m.roots.AddCert(c)
			}
			for _, c := range cs.PeerCertificates {
				if sum := sha256.Sum256(c.Raw); c.IsCA && subtle.ConstantTimeCompare(sum[:], k.SHA256) == 1 {
					m.roots.AddCert(c)
				}
			}
			get := func() *material { return m }
			return verifier(get, x509.ExtKeyUsageServerAuth, trustDomain, []ident.Role{peer})(cs)
		},
	}, nil
}
