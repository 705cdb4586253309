// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// callTimeout bounds one attempt at one control plane.
const callTimeout = 10 * time.Second

// enroll exchanges the token at the first control plane that answers.
func (m *Member) enroll(ctx context.Context, t *token) error {
	config, err := tlsx.Stranger(tlsx.Known{Authorities: m.extra, SHA256: t.fingerprint}, m.c.TrustDomain, ident.RoleControlPlane)
	if err != nil {
		return err
	}
	csr, err := m.request()
	if err != nil {
		return err
	}
	return m.ask(ctx, config, func(ctx context.Context, s nodev1.EnrollmentServiceClient) (answer, error) {
		return s.Enroll(ctx, &nodev1.EnrollRequest{JoinToken: t.text, Csr: csr})
	})
}

// renew asks for a new certificate: with the one there is, or, if that has expired, by showing it in the request.
func (m *Member) renew(ctx context.Context) error {
	csr, err := m.request()
	if err != nil {
		return err
	}
	now := m.latest.Load()
	r := &nodev1.RenewRequest{Csr: csr}
	var config *tls.Config
	if time.Now().Before(now.leaf.NotAfter) {
		config, err = tlsx.Client(&m.held, m.c.TrustDomain, ident.RoleControlPlane)
	} else {
		r.ExpiredCertificate = now.leaf.Raw
		config, err = tlsx.Stranger(tlsx.Known{Authorities: append(append([]*x509.Certificate{}, now.authorities...), m.extra...)},
			m.c.TrustDomain, ident.RoleControlPlane)
	}
	if err != nil {
		return err
	}
	return m.ask(ctx, config, func(ctx context.Context, s nodev1.EnrollmentServiceClient) (answer, error) {
		return s.Renew(ctx, r)
	})
}

// answer is EnrollResponse or RenewResponse.
type answer interface {
	GetCertificates() [][]byte
	GetAuthorities() [][]byte
}

// ask calls one control plane after the other until one answers or refuses, and takes the answer into use.
func (m *Member) ask(ctx context.Context, config *tls.Config, call func(context.Context, nodev1.EnrollmentServiceClient) (answer, error)) error {
	var failed error
	for _, endpoint := range m.c.Endpoints {
		a, err := m.askOne(ctx, endpoint, config, call)
		if err == nil {
			return m.take(a)
		}
		if refused(err) {
			return err
		}
		failed = err
	}
	return failed
}

func (m *Member) askOne(
	ctx context.Context, endpoint string, config *tls.Config, call func(context.Context, nodev1.EnrollmentServiceClient) (answer, error),
) (_ answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := grpc.NewClient(endpoint, append([]grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))}, m.c.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("dial control plane %s: %w", endpoint, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	a, err := call(ctx, nodev1.NewEnrollmentServiceClient(conn))
	if err != nil {
		return nil, fmt.Errorf("ask control plane %s: %w", endpoint, said(err))
	}
	return a, nil
}

// said makes a fault of what a control plane answered.
func said(err error) error {
	s := status.Convert(err)
	var details []proto.Message
	for _, d := range s.Details() {
		if m, ok := d.(proto.Message); ok {
			details = append(details, m)
		}
	}
	return fault.FromDetails(fault.KindOfConnect(uint32(s.Code())), s.Message(), details...).Because(err)
}

// take keeps what a control plane answered.
func (m *Member) take(a answer) error {
	i := &issued{chain: a.GetCertificates()}
	for _, der := range a.GetAuthorities() {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return unexpected(fmt.Errorf("parse authority: %w", err))
		}
		i.authorities = append(i.authorities, c)
	}
	if err := m.check(i); err != nil {
		return unexpected(err)
	}
	if before := m.latest.Load(); before != nil && before.workload != i.workload {
		// A member is one workload for its life: what it keeps on disk and what is scoped to it belong to that.
		m.c.Log.Warn("certificate is for another workload than before", "before", before.workload.URI(), "now", i.workload.URI())
	}
	return m.got(i)
}

func unexpected(cause error) error {
	return fault.Newf(fault.Precondition, ReasonAnswer, "The control plane gave a certificate that cannot be used: %s.", cause).Because(cause)
}

// request makes a certificate signing request; only its key and signature count.
func (m *Member) request() ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, m.key)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	return der, nil
}
