// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// Reasons of the faults of this room, beside those of the control plane.
const (
	// ReasonNotEnrolled: there is no certificate, and no join token to get one with (Precondition).
	ReasonNotEnrolled = "NOT_ENROLLED"
	// ReasonToken: what was given is no join token (Invalid).
	ReasonToken = "JOIN_TOKEN_INVALID"
	// ReasonFolder: what is in the folder cannot be used (Precondition).
	ReasonFolder = "IDENTITY_INVALID"
	// ReasonAnswer: a control plane gave a certificate that is not the one that was asked for (Precondition).
	ReasonAnswer = "CERTIFICATE_UNEXPECTED"
)

const (
	// renewFor is how long after its end the control plane renews a certificate (D-81).
	renewFor = 7 * 24 * time.Hour

	minBackoff = 100 * time.Millisecond // D-40
	maxBackoff = 15 * time.Second
)

// Config is what a Member needs. All fields but Token, TokenFile, CA and DialOptions are required.
type Config struct {
	// Endpoints are the control planes, host:port each, in order of preference.
	Endpoints []string
	// TrustDomain is the one of the deployment.
	TrustDomain string
	// Role is what the certificate must be for.
	Role ident.Role
	// Dir is the folder of key and certificate; it is made if it is missing. Only its owner can read it.
	Dir string
	// Token is the join token, or TokenFile the file that holds it. It is used only while there is no certificate that the
	// control plane would renew.
	Token     obs.Secret
	TokenFile string
	// CA is a PEM file of further authorities to trust.
	CA string
	// DialOptions are used beside transport credentials; tests lead elsewhere with them.
	DialOptions []grpc.DialOption
	Log         *slog.Logger
}

func (c Config) validate() error {
	if len(c.Endpoints) == 0 || c.TrustDomain == "" || c.Role == "" || c.Dir == "" || c.Log == nil {
		return errors.New("make a member: endpoints, trust domain, role, folder and log are required")
	}
	return nil
}

// Member is a member of the fleet. Its methods are safe for concurrent use.
type Member struct {
	c      Config
	key    *ecdsa.PrivateKey
	extra  []*x509.Certificate // of the file CA
	held   tlsx.Held
	latest atomic.Pointer[issued]
}

// issued is a certificate as it was got.
type issued struct {
	chain       [][]byte
	leaf        *x509.Certificate
	workload    ident.Workload
	authorities []*x509.Certificate
	renewAt     time.Time
}

// Open loads the certificate, or gets one with the join token, for which it tries until ctx ends. It starts nothing.
//
// The faults are Precondition NOT_ENROLLED, IDENTITY_INVALID or CERTIFICATE_UNEXPECTED, Invalid JOIN_TOKEN_INVALID, and those
// of a control plane that refuses the token.
func Open(ctx context.Context, c Config) (*Member, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	m := &Member{c: c}
	if err := m.open(); err != nil {
		return nil, err
	}
	i, err := m.load()
	if err != nil {
		return nil, err
	}
	known, err := m.token()
	if err != nil {
		return nil, err
	}
	switch {
	case i != nil && (known == nil || time.Since(i.leaf.NotAfter) <= renewFor):
		m.use(i)
		return m, nil
	case known == nil:
		return nil, fault.New(fault.Precondition, ReasonNotEnrolled,
			"There is no certificate: make a join token (penstock node join-token) and set enrollment.join_token, or set tls.cert, tls.key and tls.ca.")
	}
	return m, m.join(ctx, known)
}

// Source returns where the certificate is taken from at each handshake.
func (m *Member) Source() tlsx.Source { return &m.held }

// Workload returns who this process is.
func (m *Member) Workload() ident.Workload { return m.latest.Load().workload }

// NotAfter returns when the certificate expires that is used now.
func (m *Member) NotAfter() time.Time { return m.latest.Load().leaf.NotAfter }

// Run renews the certificate at half its life until ctx ends, which is no error. What fails is tried again.
func (m *Member) Run(ctx context.Context) error {
	for attempt := 0; ; {
		wait := time.Until(m.latest.Load().renewAt)
		if attempt > 0 {
			wait = backoff(attempt)
		}
		if !sleep(ctx, wait) {
			return nil
		}
		err := m.renew(ctx)
		switch {
		case err == nil:
			attempt = 0
			m.c.Log.InfoContext(ctx, "certificate renewed", "expires", m.NotAfter())
			continue
		case ctx.Err() != nil:
			return nil //nolint:nilerr // stopped, which is no failure
		case refused(err):
			m.c.Log.ErrorContext(ctx, "certificate not renewed: refused", obs.Fault(err))
		default:
			m.c.Log.WarnContext(ctx, "certificate not renewed yet", obs.Fault(err))
		}
		attempt++
	}
}

// join tries to get the first certificate until ctx ends or a control plane refuses.
func (m *Member) join(ctx context.Context, t *token) error {
	for attempt := 1; ; attempt++ {
		err := m.enroll(ctx, t)
		if err == nil {
			m.c.Log.InfoContext(ctx, "enrolled", obs.AttrRole, string(m.c.Role), obs.AttrNode, m.Workload().Name, obs.AttrRegion, m.Workload().Region)
			return nil
		}
		if refused(err) {
			return err
		}
		m.c.Log.WarnContext(ctx, "not enrolled yet", obs.Fault(err))
		if !sleep(ctx, backoff(attempt)) {
			return ctx.Err()
		}
	}
}

// use takes a certificate into use for new connections.
func (m *Member) use(i *issued) {
	m.latest.Store(i)
	m.held.Set(m.certificate(i), append(append([]*x509.Certificate{}, i.authorities...), m.extra...))
}

// got keeps a certificate that was just issued and takes it into use. It is renewed at half its life, a little earlier by
// chance, so that a fleet that started together does not come back together.
func (m *Member) got(i *issued) error {
	life := time.Until(i.leaf.NotAfter)
	i.renewAt = time.Now().Add(life/2 - rand.N(life/10+1)) //nolint:gosec // jitter
	m.use(i)
	return m.save(i)
}

// refused reports whether trying again changes nothing.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unauthenticated, fault.Denied, fault.Invalid, fault.Precondition:
		return true
	default:
		return false
	}
}

// backoff is full jitter between two bounds.
func backoff(attempt int) time.Duration {
	limit := min(minBackoff<<min(attempt, 10), maxBackoff)
	return minBackoff/2 + rand.N(limit) //nolint:gosec // jitter
}

// sleep reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
