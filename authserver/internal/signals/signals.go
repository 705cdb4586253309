// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Path is where security events are pushed to, below the issuer's path: POST.
const Path = "/ssf/{provider}"

const attrProvider = "provider"

const scopeName = "github.com/penstockhq/penstock/authserver/internal/signals"

// Directory reads and changes the users of an identity provider, by its name. [directory.Remote] has the faults.
type Directory interface {
	ListUsers(ctx context.Context, provider string, w directory.Wanted) (page []directory.Provisioned, total int, err error)
	PutUser(ctx context.Context, provider string, u directory.Provisioned) (stored directory.Provisioned, revision uint64, err error)
}

// Sessions ends what people have. Each is idempotent.
type Sessions interface {
	// LogOut ends the logins of a user (uid) with a provider, by name, and the grants that rest on them, once for an identifier.
	LogOut(ctx context.Context, user, provider, jti string, end time.Time) error
	// LogOutSession is LogOut for what came from one session at the provider.
	LogOutSession(ctx context.Context, provider, session, jti string, end time.Time) error
	// RevokeUser ends everything that a user (uid) has.
	RevokeUser(ctx context.Context, user string) error
}

// Secrets opens the tokens for poll endpoints; [vault.Vault] is one.
type Secrets interface {
	Resolve(ctx context.Context, connection, version string) (vault.Secret, error)
}

// Limiter counts requests; [limit.Limiter] is one.
type Limiter interface {
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
	Check(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what a [Receiver] needs. Now may be nil, which means time.Now; all else is required.
type Config struct {
	Issuer    string                 // of the authserver: the audience where none is configured
	View      func() *directory.View // nil before the first state
	Directory Directory
	// Await returns when this authserver has a revision of the directory, or with an error when that takes too long.
	Await    func(ctx context.Context, revision uint64) error
	Sessions Sessions
	Secrets  Secrets
	Store    store.OAuth
	Limiter  Limiter
	Egress   egress.Policy // of key sets and poll endpoints (CIMD-5)
	Log      *slog.Logger
	Meter    metric.MeterProvider
	Now      func() time.Time
}

// Receiver takes security events. It is safe for concurrent use.
type Receiver struct {
	c      Config
	events metric.Int64Counter
	self   string // tells this process from others that poll

	mu   sync.Mutex // guards keys
	keys map[string]*keys
}

// New returns a receiver. It reads and starts nothing.
func New(c Config) (*Receiver, error) {
	if c.Issuer == "" || c.View == nil || c.Directory == nil || c.Await == nil || c.Sessions == nil || c.Secrets == nil || c.Store == nil ||
		c.Limiter == nil || c.Log == nil || c.Meter == nil {
		return nil, errors.New("security events need an issuer, a directory, sessions, secrets, a store, a limiter, a log and a meter")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	counter, err := c.Meter.Meter(scopeName).Int64Counter(obs.MetricSecurityEvents, metric.WithUnit("{event}"),
		metric.WithDescription("Security events of identity providers, by event and outcome."))
	if err != nil {
		return nil, fmt.Errorf("make the counter of security events: %w", err)
	}
	return &Receiver{c: c, events: counter, self: newSelf(), keys: make(map[string]*keys)}, nil
}

// count counts an event. Both are of few values.
func (r *Receiver) count(ctx context.Context, event, outcome string) {
	r.events.Add(ctx, 1, metric.WithAttributes(attribute.String("event", event), attribute.String("outcome", outcome)))
}
