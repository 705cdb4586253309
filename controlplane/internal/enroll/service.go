// SPDX-License-Identifier: Apache-2.0

package enroll

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/enroll/authority"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the refusals of enrollment, beside those of the store.
const (
	// ReasonToken is a join token that no control plane can have made (Unauthenticated).
	ReasonToken = "JOIN_TOKEN_INVALID"
	// ReasonRequest is a message or a signing request that breaks its rules (Invalid).
	ReasonRequest = "CSR_INVALID"
	// ReasonCertificate is a certificate that this authority did not sign (Unauthenticated).
	ReasonCertificate = "CERTIFICATE_UNKNOWN"
	// ReasonTooOld is a certificate that has expired for too long to be renewed (Denied).
	ReasonTooOld = "CERTIFICATE_TOO_OLD"
	// ReasonNotEnrolled is a workload whose certificate was not made here (Denied).
	ReasonNotEnrolled = "NOT_ENROLLED"
	// ReasonKey is a signing request with another key than the enrolled one (Denied).
	ReasonKey = "KEY_NOT_PINNED"
	// ReasonTooMany is an address with too many refused attempts (Exhausted).
	ReasonTooMany = "TOO_MANY_ATTEMPTS"
)

// RenewFor is how long after its end a certificate can be renewed (D-81).
const RenewFor = 7 * 24 * time.Hour

// TokenPrefix begins every join token.
const TokenPrefix = "pjt_"

// Known is what the store knows of a workload.
type Known struct {
	KeySHA256 []byte // of the public key that it was enrolled with; empty: never
	Banned    bool
}

// Store keeps who may hold a certificate.
type Store interface {
	// UseJoinToken uses a token up for a key, both by their SHA-256, and returns the SPIFFE id that it was made for.
	UseJoinToken(ctx context.Context, token, key [sha256.Size]byte) (id string, err error)
	// Workload returns what is known of a workload; of an unknown one, nothing.
	Workload(ctx context.Context, id string) (Known, error)
}

// Config is what a Service needs. All fields are required.
type Config struct {
	Store     Store
	Authority *authority.Authority
	Log       *slog.Logger
	Now       func() time.Time
}

// Service serves penstock.node.v1.EnrollmentService. It is safe for concurrent use.
type Service struct {
	nodev1.UnimplementedEnrollmentServiceServer

	c       Config
	refused *attempts
}

// New returns a Service. It starts nothing.
func New(c Config) (*Service, error) {
	if c.Store == nil || c.Authority == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("enrollment needs a store, an authority, a log and a clock")
	}
	return &Service{c: c, refused: newAttempts(c.Now)}, nil
}

// Register adds the service to a gRPC server.
func (s *Service) Register(g grpc.ServiceRegistrar) { nodev1.RegisterEnrollmentServiceServer(g, s) }

// Enroll implements EnrollmentService.
func (s *Service) Enroll(ctx context.Context, r *nodev1.EnrollRequest) (*nodev1.EnrollResponse, error) {
	var chain [][]byte
	err := s.serve(ctx, "enroll", r, func() (w ident.Workload, err error) {
		secret, _, _ := cut(r.GetJoinToken())
		token, ok := ident.ParseSecret(TokenPrefix, secret)
		if !ok {
			return w, fault.New(fault.Unauthenticated, ReasonToken, "This is no join token: copy it whole, as it was shown.")
		}
		public, key, err := readCSR(r.GetCsr())
		if err != nil {
			return w, err
		}
		id, err := s.c.Store.UseJoinToken(ctx, token, key)
		if err != nil {
			return w, err
		}
		if w, err = ident.ParseSPIFFE(id); err == nil {
			chain, err = s.c.Authority.Issue(w, public)
		}
		return w, err
	})
	if err != nil {
		return nil, err
	}
	return &nodev1.EnrollResponse{Certificates: chain, Authorities: s.authorities()}, nil
}

// Renew implements EnrollmentService.
func (s *Service) Renew(ctx context.Context, r *nodev1.RenewRequest) (*nodev1.RenewResponse, error) {
	var chain [][]byte
	err := s.serve(ctx, "renew", r, func() (w ident.Workload, err error) {
		if w, err = s.renews(ctx, r); err != nil {
			return w, err
		}
		public, key, err := readCSR(r.GetCsr())
		if err != nil {
			return w, err
		}
		known, err := s.c.Store.Workload(ctx, w.URI())
		switch {
		case err != nil:
			return w, err
		case known.Banned:
			return w, refusal()
		case len(known.KeySHA256) == 0:
			return w, fault.New(fault.Denied, ReasonNotEnrolled, "The workload was not enrolled here: join with a token first.")
		case subtle.ConstantTimeCompare(known.KeySHA256, key[:]) == 0:
			return w, fault.New(fault.Denied, ReasonKey, "The key is not the one that the workload was enrolled with: join with a new token.")
		}
		chain, err = s.c.Authority.Issue(w, public)
		return w, err
	})
	if err != nil {
		return nil, err
	}
	return &nodev1.RenewResponse{Certificates: chain, Authorities: s.authorities()}, nil
}

// renews returns the workload that asks: that of the client certificate, or of the one in the request.
func (s *Service) renews(ctx context.Context, r *nodev1.RenewRequest) (ident.Workload, error) {
	if w, err := Peer(ctx, everybody()...); err == nil {
		return w, nil
	}
	if len(r.GetExpiredCertificate()) == 0 {
		return ident.Workload{}, unknown(nil)
	}
	refused := fault.New(fault.Unauthenticated, ReasonCertificate, "The certificate in the request is not one of this deployment's.")
	cert, err := x509.ParseCertificate(r.GetExpiredCertificate())
	if err != nil {
		return ident.Workload{}, refused.Because(err)
	}
	w, err := s.c.Authority.Verify(cert)
	if err != nil {
		return ident.Workload{}, refused.Because(err)
	}
	if s.c.Now().After(cert.NotAfter.Add(RenewFor)) {
		return w, fault.New(fault.Denied, ReasonTooOld, "The certificate expired more than 7 days ago: join with a new token.")
	}
	return w, nil
}

// serve is what both calls have in common: the limit of refused attempts, the rules of the message, and what is told.
func (s *Service) serve(ctx context.Context, what string, m proto.Message, work func() (ident.Workload, error)) error {
	from := address(ctx)
	// Apart for the two calls, and not for who shows a certificate: one stranger must not keep the nodes behind the same
	// address from renewing.
	count := func() { s.refused.count(what + " " + from) }
	if _, err := Peer(ctx, everybody()...); err == nil {
		count = func() {}
	} else if wait := s.refused.wait(what + " " + from); wait > 0 {
		return toStatus(fault.New(fault.Exhausted, ReasonTooMany, "Too many attempts of this address were refused. Try again later.").After(wait))
	}
	if err := protovalidate.Validate(m); err != nil {
		count()
		return toStatus(fault.New(fault.Invalid, ReasonRequest, err.Error()))
	}
	w, err := work()
	attrs := []any{obs.AttrMethod, what, obs.AttrRole, string(w.Role), obs.AttrNode, w.Name, obs.AttrRegion, w.Region, obs.AttrAddress, from}
	switch kind := fault.KindOf(err); {
	case err == nil:
		s.c.Log.InfoContext(ctx, "certificate issued", attrs...)
		return nil
	case kind == fault.Unauthenticated || kind == fault.Denied || kind == fault.Invalid:
		count()
		s.c.Log.WarnContext(ctx, "certificate refused", append(attrs, obs.Fault(err))...)
	case ctx.Err() == nil:
		s.c.Log.ErrorContext(ctx, "certificate not issued", append(attrs, obs.Fault(err))...)
	}
	return toStatus(err)
}

func (s *Service) authorities() [][]byte {
	var out [][]byte
	for _, c := range s.c.Authority.Trust() {
		if !slices.ContainsFunc(out, func(der []byte) bool { return string(der) == string(c.Raw) }) {
			out = append(out, c.Raw)
		}
	}
	return out
}

// readCSR returns the public key of a signing request, which it must have signed, and the SHA-256 of its encoding.
func readCSR(der []byte) (*ecdsa.PublicKey, [sha256.Size]byte, error) {
	refused := fault.New(fault.Invalid, ReasonRequest, "The certificate signing request is not one of an ECDSA P-256 key, signed with it.")
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return nil, [sha256.Size]byte{}, refused.Because(err)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, [sha256.Size]byte{}, refused
	}
	return key, sha256.Sum256(csr.RawSubjectPublicKeyInfo), nil
}

// address returns the host of the peer; the port changes with each connection.
func address(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return ""
	}
	return hostOf(p.Addr.String())
}
