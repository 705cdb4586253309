// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/facts"
)

// Secrets keeps what connections authenticate with. The authserver implements it, through package secrets.
type Secrets interface {
	// Put seals a connection's secrets as a new version and returns its reference. Values never come back.
	Put(ctx context.Context, connectionUID string, headers, env map[string]string) (version string, err error)
	// Delete removes every version of a connection's secrets. Deleting nothing is no error.
	Delete(ctx context.Context, connectionUID string) error
}

// Status knows what the nodes enforce.
type Status interface {
	// Enforced reports whether all connected nodes enforce a revision; false if none is connected.
	Enforced(rev Revision) bool
}

// Caller is an authenticated administrator. The zero value may do nothing.
type Caller = access.Caller

// WriteOptions change how a write is done.
type WriteOptions struct {
	// ValidateOnly checks everything and stores nothing.
	ValidateOnly bool
}

// Written is the outcome of a write.
type Written struct {
	Object   Object   // as stored
	Revision Revision // that the write made; the head if it changed nothing
	Changed  bool
	Token    string // the bearer token itself, when one was created: this is the only time it is seen
}

// ListOptions choose a page.
type ListOptions struct {
	PageSize    int    // 1 to 1,000; 0 means 100
	PageToken   string // NextPageToken of the page before
	Filter      string // see package filter
	ShowDeleted bool   // include what was deleted within the last 30 days
}

// Page is one page of a list, in name order.
type Page struct {
	Objects       []Object
	NextPageToken string // empty after the last page
}

// ApplyOptions change how Apply works.
type ApplyOptions struct {
	Prune        bool // delete every server, connection, gateway, team and user that is not listed, except the caller
	ValidateOnly bool
}

// Actions of [AppliedItem].
const (
	ActionCreated   = "created"
	ActionUpdated   = "updated"
	ActionUnchanged = "unchanged"
	ActionDeleted   = "deleted"
)

// AppliedItem is what Apply did with one resource.
type AppliedItem struct {
	Kind          Kind
	Name          string
	Action        string   // "created", "updated", "unchanged" or "deleted"
	ChangedFields []string // proto names, sorted
}

// Applied is the outcome of Apply: one item per resource in the order given, deletions last.
type Applied struct {
	Items    []AppliedItem
	Revision Revision // that it made; the head if nothing changed
}

// TokenUse is the last use of a bearer token.
type TokenUse = facts.TokenUse

// ConnectionCheck is the outcome of the last call over a connection.
type ConnectionCheck = facts.ConnectionCheck

// Config is what a Catalog needs.
type Config struct {
	Store      Store                    // required
	Secrets    Secrets                  // nil refuses every secret
	Status     Status                   // nil means that no node is connected
	Now        func() time.Time         // nil means time.Now
	GatewayURL func(name string) string // URL of a gateway's MCP endpoint; nil means none is known
}

// Catalog is the commands and queries of the domain. Its methods may be called at the same time.
type Catalog struct {
	cfg   Config
	facts *facts.Keeper
}

// New returns a catalog on a store. It starts nothing.
func New(cfg Config) *Catalog {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.GatewayURL == nil {
		cfg.GatewayURL = func(string) string { return "" }
	}
	return &Catalog{cfg: cfg, facts: facts.New(cfg.Store, cfg.Now)}
}
