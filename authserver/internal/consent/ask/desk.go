// SPDX-License-Identifier: Apache-2.0

package ask

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Clients finds OAuth clients. The faults of clients it cannot find are those of package clients.
type Clients interface {
	Client(ctx context.Context, id string) (*clients.Client, error)
	// ForConsented is Client for a client that the person at hand has consented to (CIMD-7).
	ForConsented(ctx context.Context, id string) (*clients.Client, error)
	// Touch notes that a client was used (REG-9).
	Touch(ctx context.Context, tx store.OAuthTx, c *clients.Client) error
}

// Logins says who is logged in with a browser.
type Logins interface {
	// Current returns the login that a request's cookie belongs to, nil if there is none that is good.
	Current(r *http.Request) (*store.Login, error)
}

// Config is what a [Desk] needs. All but Log is required.
type Config struct {
	Issuer  string // of the authorization server, byte for byte
	Store   store.OAuth
	Clients Clients
	Logins  Logins
	Now     func() time.Time
	Log     *slog.Logger
}

// Desk keeps waiting requests and answers them.
type Desk struct {
	cfg  Config
	base string // of paths
}

// New returns a desk.
func New(cfg Config) (*Desk, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.Clients == nil || cfg.Logins == nil || cfg.Now == nil {
		return nil, errors.New("authorization requests need an issuer, a store, clients, logins and a clock")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Desk{cfg: cfg, base: pages.Base(cfg.Issuer)}, nil
}

// Render answers with a page.
func (d *Desk) Render(w http.ResponseWriter, r *http.Request, status int, body pages.Body) {
	pages.Render(w, r, pages.Page{Status: status, Body: body, Base: d.base})
}

// Login answers with a redirect to the login page.
func (d *Desk) Login(w http.ResponseWriter, secret string) {
	pages.Redirect(w, d.base+"/login?"+url.Values{"request": {secret}}.Encode())
}

// now is the time in the precision of the store.
func (d *Desk) now() time.Time { return d.cfg.Now().UTC().Truncate(time.Microsecond) }

// Client finds the client of a request from a browser. A client whose document cannot be had now is the one of before, for a
// person who has consented to it (CIMD-7).
func (d *Desk) Client(r *http.Request, id string) (*clients.Client, error) {
	if strings.HasPrefix(id, "https://") {
		login, err := d.cfg.Logins.Current(r)
		if err == nil && login != nil && d.consented(r.Context(), login.User, func(c store.Consent) bool { return c.Client == id }) {
			return d.cfg.Clients.ForConsented(r.Context(), id)
		}
	}
	return d.cfg.Clients.Client(r.Context(), id)
}

// consented reports whether a user has a consent of a kind. Who cannot be asked about has none.
func (d *Desk) consented(ctx context.Context, user string, match func(store.Consent) bool) bool {
	list, err := d.cfg.Store.Consents(ctx, user)
	return err == nil && slices.ContainsFunc(list, match)
}

// Record stores an audit event of a refusal. The refusal stands even if it cannot be recorded: nothing was given away.
func (d *Desk) Record(ctx context.Context, e store.Event) {
	err := d.cfg.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		d.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a refusal is not recorded", obs.Fault(err))
	}
}

// Log logs an error that a person or client is told of in general words only.
func (d *Desk) Log(ctx context.Context, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	d.cfg.Log.LogAttrs(ctx, slog.LevelError, "an authorization request cannot be served", obs.Fault(err),
		slog.String(obs.AttrRequestID, reqctx.From(ctx).ID))
}
