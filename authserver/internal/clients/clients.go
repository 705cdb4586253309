// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/clients/register"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Limiter counts events against limits. Allow takes one of a key in a bucket; Check tells whether there is one. If there is
// none, they return how long to wait.
type Limiter interface {
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
	Check(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what [Clients] needs.
type Config struct {
	// View returns the directory, nil before its first state.
	View    func() *directory.View
	Store   store.OAuth
	Limiter Limiter
	// Issuer is the authorization server, TokenEndpoint the URL of its token endpoint: what assertions are made for (TK-17).
	Issuer, TokenEndpoint string
	// TokenEndpointAudience takes assertions that were made for the token endpoint, too.
	TokenEndpointAudience bool
	// Trust is whose client metadata documents are taken (CIMD-13).
	Trust cimd.Trust
	// Redirects are the rules for redirect URIs, those of the registration endpoint.
	Redirects redirect.Rules
	// TrustedClients are client_ids that need no consent (AZ-14): URLs of documents, for the most part.
	TrustedClients []string
	// Scopes returns all scopes that there are; nil leaves the scopes of documents as they are.
	Scopes func() []string
	// Egress guards what is fetched; its exceptions are the setting egress_allow (CIMD-5).
	Egress egress.Policy
	// RootCAs are the authorities of servers that documents are fetched from; nil is the system's.
	RootCAs *x509.CertPool
	// TTL is how long a client that registered itself lives after its last use (REG-9).
	TTL    time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

func (c Config) validate() error {
	switch {
	case c.View == nil || c.Store == nil || c.Limiter == nil || c.Now == nil || c.Logger == nil:
		return errors.New("clients need a directory, a store, a limiter, a clock and a logger")
	case c.Issuer == "" || c.TokenEndpoint == "":
		return errors.New("clients need the issuer and the token endpoint")
	case c.TTL <= 0:
		return errors.New("the life of registered clients is not positive")
	}
	return nil
}

// Clients finds and authenticates clients. It is safe for concurrent use.
type Clients struct {
	config    Config
	documents *cimd.Resolver
	keys      *keySets
	trusted   map[string]bool
}

// New checks the configuration and returns the clients. It starts nothing.
func New(c Config) (*Clients, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Clients{config: c, trusted: make(map[string]bool, len(c.TrustedClients))}
	for _, id := range c.TrustedClients {
		s.trusted[id] = true
	}
	var err error
	if s.keys, err = newKeySets(c, s.keysFetched); err != nil {
		return nil, err
	}
	s.documents, err = cimd.New(cimd.Config{
		Trust: c.Trust, Redirects: c.Redirects, Egress: c.Egress, RootCAs: c.RootCAs, Now: c.Now, Fetched: s.fetched,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Client returns the client of a client_id. The faults are those of this package's reasons, and those of the store. It is
// not called within a transaction: it may make one of its own, and a request to somebody else's server.
func (s *Clients) Client(ctx context.Context, id string) (*Client, error) {
	return s.client(ctx, id, false)
}

// ForConsented is [Clients.Client] for a client that the person at hand has consented to: if its document cannot be fetched
// now, the one of the last 24 h is good (CIMD-7).
func (s *Clients) ForConsented(ctx context.Context, id string) (*Client, error) {
	return s.client(ctx, id, true)
}

func (s *Clients) client(ctx context.Context, id string, stale bool) (*Client, error) {
	var c *Client
	var err error
	switch {
	case strings.HasPrefix(id, cimd.Prefix):
		c, err = s.documented(ctx, id, stale)
	case strings.HasPrefix(id, register.Prefix):
		c, err = s.dynamic(ctx, id)
	default:
		c, err = s.registered(id)
	}
	if err != nil {
		return nil, err
	}
	c.Trusted = c.Trusted || s.trusted[id]
	return c, nil
}

func unknown() *fault.Fault {
	return fault.New(fault.NotFound, ReasonUnknown, "This client is not registered. Remove and add the server again.")
}

func (s *Clients) registered(id string) (*Client, error) {
	view := s.config.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, ReasonUnready, "The authorization server is starting. Try again soon.")
	}
	c := view.Client(id)
	switch {
	case c == nil:
		return nil, unknown()
	case c.Disabled:
		return nil, fault.New(fault.Denied, ReasonRefused, "An administrator has disabled this client.")
	default:
		return fromDirectory(c), nil
	}
}

func (s *Clients) dynamic(ctx context.Context, id string) (*Client, error) {
	row, err := s.config.Store.Client(ctx, id)
	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return nil, unknown().Because(err)
	case err != nil:
		return nil, fmt.Errorf("read client: %w", err)
	case !s.config.Now().Before(row.ExpireTime):
		return nil, unknown()
	}
	m, err := metadata.Parse(row.Metadata, metadata.MaxList)
	if err != nil {
		return nil, fmt.Errorf("read the metadata of client %s: %w", id, err)
	}
	return fromRegistration(row, m, s.config.Redirects), nil
}

func (s *Clients) documented(ctx context.Context, id string, stale bool) (*Client, error) {
	if _, err := cimd.ParseID(id, s.config.Egress); err != nil {
		s.record(ctx, refusal(ctx, id, ReasonDocument)) // a fetch records its own refusals, and there is none
	}
	m, host, err := s.documents.Client(ctx, id, stale)
	if err != nil {
		if fault.KindOf(err) == fault.Denied {
			s.record(ctx, refusal(ctx, id, ReasonRefused))
		}
		return nil, fmt.Errorf("resolve the client: %w", err)
	}
	return fromDocument(m, host, s.config.Scopes), nil
}

// Touch notes that a client was used, so that it lives on if it registered itself (REG-9). It does so once an hour at most:
// every token would be a write otherwise.
func (s *Clients) Touch(ctx context.Context, tx store.OAuthTx, c *Client) error {
	now := s.config.Now()
	if c.Origin != Dynamic || !c.used.IsZero() && now.Before(c.used.Add(time.Hour)) {
		return nil
	}
	if err := tx.TouchClient(ctx, c.ID, now, now.Add(s.config.TTL)); err != nil {
		return fmt.Errorf("note the use of the client: %w", err)
	}
	return nil
}
