// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
)

// Path is where links lead, below the issuer's path.
const Path = "/connect/{link}" // GET, POST

// Reasons of the faults of this package.
const (
	// ReasonTooMany: the person has five open links for the server (Exhausted, EL-11).
	ReasonTooMany = "TOO_MANY_CONNECT_LINKS"
	// ReasonNotConnectable: the server takes no credential that a person could give on a page (Precondition).
	ReasonNotConnectable = "SERVER_NOT_CONNECTABLE"
	// ReasonRequest: what was asked for cannot be a link (Invalid).
	ReasonRequest = "CONNECT_LINK_INVALID"
	// ReasonOver: the link was used, is too old, or never was (NotFound).
	ReasonOver = "CONNECT_LINK_OVER"
	// ReasonProvider: the identity provider of the server's credential cannot be logged in with (Precondition).
	ReasonProvider = "UPSTREAM_PROVIDER_UNKNOWN"
	// ReasonNoDirectory: nothing was heard of a control plane yet (Unavailable).
	ReasonNoDirectory = "DIRECTORY_UNAVAILABLE"
)

// Logins says who is logged in with a browser.
type Logins interface {
	// Current returns the login that a request's cookie belongs to, nil if there is none that is good.
	Current(r *http.Request) (*store.Login, error)
	// Send answers with the way to a provider (name), where a user (uid) logs in for a link. Whoever comes back is brought to
	// [Handler.Returned].
	Send(w http.ResponseWriter, r *http.Request, provider, link, user string)
}

// Subjects keeps what logins with identity providers left.
type Subjects interface {
	// Held returns nil if there is what calls of a server need of a user's (uid) login with a provider. The faults are Precondition,
	// of which CREDENTIAL_MISSING and CREDENTIAL_DEAD are mended by a login, and Unavailable.
	Held(ctx context.Context, user string, p *directory.Provider, s *directory.Server) error
}

// Installer is the control plane.
type Installer interface {
	// ConnectServer makes a user's own connection of a server, if there is none, and sets which version of its credential counts.
	// It returns the connection's uid. The faults are those of [directory.Remote.ConnectServer].
	ConnectServer(ctx context.Context, i directory.Installation) (connection string, err error)
}

// Vault keeps credentials; [vault.Vault] is one.
type Vault interface {
	// Put seals a secret as a new version of a connection's credential. One that cannot be used is Invalid CREDENTIAL_INVALID.
	Put(ctx context.Context, connection string, s vault.Secret) (version string, err error)
}

// Upstream has people give grants at authorization servers; [upstream.Upstream] is one.
type Upstream interface {
	// Begin returns where a person goes, and by what her answer is judged.
	Begin(ctx context.Context, s *directory.Server, d upstream.Departure) (upstream.Journey, string, error)
	// Finish redeems a code for a grant.
	Finish(ctx context.Context, s *directory.Server, j upstream.Journey, code, verifier string) (vault.Secret, error)
}

// Config is what a [Handler] needs. Now may be nil, which means time.Now.
type Config struct {
	Issuer    string
	Store     store.OAuth
	View      func() *directory.View // nil before the first state
	Logins    Logins
	Installer Installer
	Vault     Vault
	Upstream  Upstream
	Subjects  Subjects
	Log       *slog.Logger
	Now       func() time.Time
}

// Handler makes links and serves their pages. It is safe for concurrent use.
type Handler struct {
	c    Config
	base string // path of the issuer
}

// New returns a handler.
func New(c Config) (*Handler, error) {
	if c.Issuer == "" || c.Store == nil || c.View == nil || c.Logins == nil || c.Installer == nil || c.Vault == nil || c.Upstream == nil || c.Subjects == nil || c.Log == nil {
		return nil, errors.New("connect links need an issuer, a store, a directory, logins, an installer, a vault, an upstream client, kept logins and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Handler{c: c, base: pages.Base(c.Issuer)}, nil
}

// now returns the time as the store keeps it.
func (h *Handler) now() time.Time { return h.c.Now().UTC().Truncate(time.Microsecond) }

func (h *Handler) record(ctx context.Context, e store.Event) error {
	return h.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
}
