// SPDX-License-Identifier: Apache-2.0

package cimd

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/clients/remote"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Bounds of documents (CIMD-4) and of their cache.
const (
	maxDocument  = 10 << 10
	maxDocuments = 2048
)

// Reasons of the faults of [Resolver.Client]. No text repeats what a document says.
const (
	ReasonRefused     = "CLIENT_REFUSED"     // Denied: the deployment does not trust it (CIMD-13)
	ReasonDocument    = "CLIENT_DOCUMENT"    // Invalid: its document cannot be had or used
	ReasonFetchBudget = "CLIENT_FETCH_LIMIT" // Exhausted: too many fetches of such documents (CIMD-8)
)

// Config is what a [Resolver] needs.
type Config struct {
	Trust     Trust
	Redirects redirect.Rules
	Egress    egress.Policy
	RootCAs   *x509.CertPool // authorities of servers; nil is the system's
	Now       func() time.Time
	// Fetched is told of every request, with the error that refused the document. Required.
	Fetched func(ctx context.Context, id string, err error)
}

// Resolver finds clients by their documents. It keeps nothing but a bounded cache in memory (CIMD-16), and is safe for
// concurrent use.
type Resolver struct {
	trust  Trust
	policy egress.Policy
	cache  *remote.Cache[*metadata.Client]
}

// New checks the configuration and returns a resolver.
func New(c Config) (*Resolver, error) {
	if err := c.Trust.validate(); err != nil {
		return nil, fmt.Errorf("check whose client metadata documents are taken: %w", err)
	}
	r := rules{redirects: c.Redirects, policy: c.Egress, sameOrigin: c.Trust.SameOrigin}
	cache, err := remote.New(remote.Config[*metadata.Client]{
		Parse: r.parse, MaxBytes: maxDocument, MaxEntries: maxDocuments, RootCAs: c.RootCAs, Now: c.Now, Fetched: c.Fetched,
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of client metadata documents: %w", err)
	}
	return &Resolver{trust: c.Trust, policy: c.Egress, cache: cache}, nil
}

// Client returns what the document at a client_id says, and the host of that URL. stale takes a document that was good in
// the last 24 h if it cannot be fetched: for a client that somebody has consented to (CIMD-7). The result must not be
// changed.
func (r *Resolver) Client(ctx context.Context, id string, stale bool) (c *metadata.Client, host string, err error) {
	u, err := ParseID(id, r.policy)
	if err != nil {
		return nil, "", document(err)
	}
	if !r.trust.allows(id, u) {
		return nil, "", fault.New(fault.Denied, ReasonRefused, "This deployment does not accept this client. Ask an administrator to allow it.")
	}
	c, err = r.cache.Get(ctx, remote.Request{URL: u, Policy: r.policy, Stale: stale})
	var f *fault.Fault
	switch {
	case err == nil:
		return c, u.Host, nil
	case errors.As(err, &f) && f.Reason == remote.ReasonBudget:
		return nil, "", fault.New(fault.Exhausted, ReasonFetchBudget, "Too many client descriptions are being fetched. Try again soon.").After(f.Retry).Because(err)
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("resolve the client: %w", ctx.Err())
	default:
		return nil, "", document(err)
	}
}

func document(cause error) error {
	return fault.New(fault.Invalid, ReasonDocument, "The description of this client cannot be used (invalid_client).").Because(cause)
}
