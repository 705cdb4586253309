// SPDX-License-Identifier: Apache-2.0

package tlsx

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Server returns a configuration for TLS 1.3 that shows the certificate of f
// and demands one from each client: issued by an authority of f, valid now,
// for client authentication, with the SPIFFE ID of trustDomain and one of the
// allowed roles. The handler reads who it is with [Peer].
//
// The faults are Precondition TLS_FILES_INVALID, and Invalid when trustDomain
// or allowed is empty. http.Server.ServeTLS and grpc credentials.NewTLS add
// the protocol names (ALPN) that they speak.
func Server(f Source, trustDomain string, allowed ...ident.Role) (*tls.Config, error) {
	get, err := open(f, trustDomain, allowed)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return get().cert, nil
		},
		// The chain is verified below and not by crypto/tls, whose ClientCAs
		// could not be exchanged while the server runs.
		ClientAuth:       tls.RequireAnyClientCert,
		VerifyConnection: verifier(get, x509.ExtKeyUsageClientAuth, trustDomain, allowed),
	}, nil
}

// ServerAskingOnly is [Server], but lets in clients that show no certificate at
// all: those of enrollment (D-81), who have none yet. Whoever shows one must
// pass as with Server. Every handler must refuse a connection without a [Peer],
// unless it is meant for strangers.
func ServerAskingOnly(f Source, trustDomain string, allowed ...ident.Role) (*tls.Config, error) {
	config, err := Server(f, trustDomain, allowed...)
	if err != nil {
		return nil, err
	}
	verify := config.VerifyConnection
	config.ClientAuth = tls.RequestClientCert
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		return verify(cs)
	}
	return config, nil
}

// Client returns a configuration for TLS 1.3 that shows the certificate of f
// and accepts only a server issued by an authority of f, valid now, for
// server authentication, with the SPIFFE ID of trustDomain and the role peer.
// Host names play no part: a workload is who its certificate says, wherever
// it is reached.
//
// The faults are those of [Server].
func Client(f Source, trustDomain string, peer ident.Role) (*tls.Config, error) {
	get, err := open(f, trustDomain, []ident.Role{peer})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return get().cert, nil
		},
		// crypto/tls would look for a host name. VerifyConnection verifies the
		// chain and the SPIFFE ID instead, on resumed connections too.
		InsecureSkipVerify: true, //nolint:gosec // verified by VerifyConnection, see above
		VerifyConnection:   verifier(get, x509.ExtKeyUsageServerAuth, trustDomain, []ident.Role{peer}),
	}, nil
}

// Peer returns who is at the other end of a connection that was made with a
// configuration of this package.
func Peer(cs tls.ConnectionState) (ident.Workload, error) {
	if len(cs.PeerCertificates) == 0 {
		return ident.Workload{}, fault.New(fault.Unauthenticated, ReasonPeer, "The peer showed no certificate.")
	}
	return ident.FromCertificate(cs.PeerCertificates[0])
}

func open(f Source, trustDomain string, roles []ident.Role) (func() *material, error) {
	if trustDomain == "" {
		return nil, fault.New(fault.Invalid, ReasonFiles, "Mutual TLS needs a trust domain.").At("trust_domain", "is empty")
	}
	if len(roles) == 0 || slices.Contains(roles, "") {
		return nil, fault.New(fault.Invalid, ReasonFiles, "Mutual TLS needs the roles of the peers.")
	}
	return f.open()
}

// verifier returns the check of a connection. It runs on every handshake,
// resumed ones included, with the authorities of that moment: removing an
// authority from the file shuts its workloads out.
func verifier(get func() *material, usage x509.ExtKeyUsage, trustDomain string, roles []ident.Role) func(tls.ConnectionState) error {
	roles = slices.Clone(roles)
	return func(cs tls.ConnectionState) error {
		peer, err := Peer(cs)
		if err != nil {
			return err
		}
		intermediates := x509.NewCertPool()
		for _, c := range cs.PeerCertificates[1:] {
			intermediates.AddCert(c)
		}
		if _, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots:         get().roots,
			Intermediates: intermediates,
			CurrentTime:   time.Now(),
			KeyUsages:     []x509.ExtKeyUsage{usage},
		}); err != nil {
			return fault.New(fault.Unauthenticated, ReasonPeer, "The peer's certificate does not verify.").Because(err)
		}
		if peer.TrustDomain != trustDomain {
			return refused(peer, "is of another trust domain than "+trustDomain)
		}
		if !slices.Contains(roles, peer.Role) {
			return refused(peer, fmt.Sprintf("has none of the roles %v", roles))
		}
		return nil
	}
}

func refused(peer ident.Workload, why string) error {
	return fault.New(fault.Denied, ReasonPeer, "The peer is not one that may connect here.").
		Because(fmt.Errorf("%s %s", peer, why))
}
