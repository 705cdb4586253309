// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/facts"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
)

// Secrets keeps what connections and identity providers authenticate with, and people's passwords, and has people give credentials
// for servers. The authserver
// implements it, through package secrets.
type Secrets interface {
	// Put seals a connection's secrets as a new version and returns its reference. Values never come back.
	Put(ctx context.Context, connectionUID string, headers, env map[string]string) (version string, err error)
	// PutClientSecret is Put for the client_secret of Penstock at an identity provider.
	PutClientSecret(ctx context.Context, providerUID, secret string) (version string, err error)
	// Delete removes every version of the secrets of a connection or identity provider. Deleting nothing is no error.
	Delete(ctx context.Context, uid string) error
	// SetPassword sets the password of a user and ends the user's logins; an empty one takes it away.
	SetPassword(ctx context.Context, userUID, password string) error
	// CreateConnectLink makes a link under which a user (uid) gives a credential for a server (name), and says when it ends.
	CreateConnectLink(ctx context.Context, userUID, server string) (url string, expires time.Time, err error)
}

// Capabilities knows what the connected nodes and authservers can do (D-37).
type Capabilities interface {
	// Lacking returns the names of the connected nodes that did not announce a capability, in any order.
	Lacking(capability string) []string
	// LackingAuthservers is Lacking for authservers.
	LackingAuthservers(capability string) []string
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
	Token    string // the bearer token or client secret itself, when one was made: this is the only time it is seen
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
	Prune        bool // delete everything of the exported kinds that is not listed, except the caller
	ValidateOnly bool
	Staged       bool // one node first, then a tenth, then all; Precondition, ROLLOUT_RUNNING, while another one runs
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
	Nodes      Capabilities             // nil means that no node is connected
	Now        func() time.Time         // nil means time.Now
	Rollouts   record.Rollouts          // nil means that nothing is rolled out in stages
	GatewayURL func(name string) string // URL of a gateway's MCP endpoint; nil means none is known
}

// Catalog is the commands and queries of the domain. Its methods may be called at the same time.
type Catalog struct {
	cfg     Config
	facts   *facts.Keeper
	rotated rotations
	logins  chan struct{} // holds a token while nobody writes in turn
}

// New returns a catalog on a store. It starts nothing.
func New(cfg Config) *Catalog {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.GatewayURL == nil {
		cfg.GatewayURL = func(string) string { return "" }
	}
	c := &Catalog{cfg: cfg, facts: facts.New(cfg.Store, cfg.Now), logins: make(chan struct{}, 1)}
	c.logins <- struct{}{}
	return c
}
