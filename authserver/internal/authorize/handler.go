// SPDX-License-Identifier: Apache-2.0

package authorize

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Path is where the handler is served, below the issuer's path.
const Path = "/api/auth/oauth2/authorize"

// ReasonNoDirectory is the reason of the fault before the first state of the directory (Unavailable).
const ReasonNoDirectory = "AUTHSERVER_DIRECTORY_MISSING"

// Clients finds OAuth clients; see [ask.Clients].
type Clients = ask.Clients

// Logins says who is logged in; see [ask.Logins].
type Logins = ask.Logins

// Config is what a [Handler] needs. DefaultResource and Log may be empty.
type Config struct {
	Issuer  string
	Store   store.OAuth
	View    func() *directory.View // nil before the first state
	Clients Clients
	Logins  Logins
	// DefaultResource is the resource of clients that name none (AZ-5), in any of its recorded forms.
	DefaultResource string
	Now             func() time.Time
	Log             *slog.Logger
}

// Handler serves [Path].
type Handler struct {
	cfg  Config
	desk *ask.Desk
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if cfg.View == nil {
		return nil, errors.New("the authorization endpoint needs a directory")
	}
	desk, err := ask.New(ask.Config{Issuer: cfg.Issuer, Store: cfg.Store, Clients: cfg.Clients, Logins: cfg.Logins, Now: cfg.Now, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	return &Handler{cfg: cfg, desk: desk}, nil
}

// Describe returns what a waiting request is about, for the login page. Invalid, AUTHORIZATION_REQUEST_OVER: there is no such
// request any more. Unavailable: the directory or the store cannot be read. Other faults are those of clients.
func (h *Handler) Describe(ctx context.Context, requestSecret string) (pages.Destination, error) {
	q, err := h.desk.Find(ctx, requestSecret)
	if err != nil {
		return pages.Destination{}, err
	}
	client, err := h.cfg.Clients.Client(ctx, q.Client)
	if err != nil {
		return pages.Destination{}, fmt.Errorf("find the client of an authorization request: %w", err)
	}
	view := h.cfg.View()
	if view == nil {
		return pages.Destination{}, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.")
	}
	return ask.Destination(q, client, view.Gateway(q.Gateway)), nil
}

// ServeHTTP implements [http.Handler]. It sets no CORS headers: scripts have no business here (AS-14).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := h.parameters(w, r)
	if !ok {
		return
	}
	view := h.cfg.View()
	if view == nil {
		h.desk.Unavailable(w, r)
		return
	}
	c, ok := h.client(w, r, p)
	if !ok {
		return
	}
	// From here on answers may go to the client (AZ-1).
	if e := h.check(view, p, &c); e != nil {
		h.desk.Refuse(w, r, c, e)
		return
	}
	login, err := h.cfg.Logins.Current(r)
	if err != nil {
		h.desk.Refuse(w, r, c, oauthfault.From(err))
		return
	}
	if login != nil {
		c.User = login.User
	}
	// A form that another site posted comes without the cookie of the login: the consent page is the one to look for it.
	nobody := login == nil && r.Method == http.MethodGet
	if nobody && c.Request.Silent {
		h.desk.Refuse(w, r, c, oauthfault.New(oauthfault.LoginRequired, "Nobody is logged in, and prompt=none forbids to ask."))
		return
	}
	secret, err := h.desk.Wait(w, r, c.Request)
	switch {
	case err != nil:
		h.desk.Refuse(w, r, c, oauthfault.From(err))
	case nobody || c.Request.Fresh:
		h.desk.Login(w, secret)
	default:
		pages.Redirect(w, pages.Base(h.cfg.Issuer)+consent.Path+"?"+url.Values{"request": {secret}}.Encode())
	}
}

// client finds the client and checks the redirect URI, or answers with a page (AZ-1).
func (h *Handler) client(w http.ResponseWriter, r *http.Request, p parameters) (ask.Case, bool) {
	id, ok := p.one("client_id")
	if !ok || id == "" {
		h.broken(w, r, "", "client_id", "The app has to name itself once, with the parameter client_id.")
		return ask.Case{}, false
	}
	client, err := h.desk.Client(r, id)
	if err != nil {
		h.desk.ClientPage(w, r, id, err)
		return ask.Case{}, false
	}
	uri, ok := p.one("redirect_uri")
	if uri == "" && ok && len(client.RedirectURIs) == 1 {
		uri = client.RedirectURIs[0] // OAuth 2.1 §4.1.1: it may be left out if there is just one
	}
	if !ok || uri == "" || !client.Redirect(uri) {
		h.broken(w, r, id, "redirect_uri", "The app asks for the answer at an address that is not registered for it. "+
			"If you trust the app, remove this server in it and add it again; otherwise close this page.")
		return ask.Case{}, false
	}
	// One of two states is none: which one the client knows cannot be told.
	state, _ := p.one("state")
	return ask.Case{Request: ask.Request{Client: id, RedirectURI: uri, State: state}, Client: client}, true
}

// broken answers a request that may not be answered to its client.
func (h *Handler) broken(w http.ResponseWriter, r *http.Request, clientID, reason, text string) {
	h.desk.PageRefused(w, r, clientID, reason, pages.ErrorPage{
		Title: "The app's request cannot be used", Text: text, Code: string(oauthfault.InvalidRequest),
	}, http.StatusBadRequest)
}
