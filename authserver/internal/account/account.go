// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Paths, below the issuer's path.
const (
	Path       = "/account"        // GET
	RevokePath = "/account/revoke" // POST

	loginPath  = "/login"
	logoutPath = "/logout"
)

// LogoutAbout is what the CSRF token of the log-out form is about: pages.CSRF(secret of the login's cookie, LogoutAbout).
const LogoutAbout = "logout"

const maxForm = 16 << 10 // bytes

// Logins says who is logged in with a browser.
type Logins interface {
	// Current returns the login that a request's cookie belongs to, nil if there is none that is good.
	Current(r *http.Request) (*store.Login, error)
}

// Revoker takes access back.
type Revoker interface {
	// RevokeConsent removes the consents of a user (uid) to a client (client_id) at a gateway (uid), whatever the redirect
	// host, and revokes the grants that rest on them. Nothing to revoke is no error. It records the audit event.
	RevokeConsent(ctx context.Context, user, client, gateway string) error
}

// Config is what a [Handler] needs. Log may be nil.
type Config struct {
	Issuer  string
	Store   store.OAuthReader
	View    func() *directory.View // nil before the first state
	Logins  Logins
	Revoker Revoker
	Now     func() time.Time
	Log     *slog.Logger
}

// Handler serves the pages.
type Handler struct {
	cfg  Config
	base string
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.View == nil || cfg.Logins == nil || cfg.Revoker == nil || cfg.Now == nil {
		return nil, errors.New("the account page needs an issuer, a store, a directory, logins, a revoker and a clock")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{cfg: cfg, base: pages.Base(cfg.Issuer)}, nil
}

// Home serves "/": it leads to the account page.
func (h *Handler) Home(w http.ResponseWriter, _ *http.Request) {
	pages.Redirect(w, h.base+Path)
}

// Page serves [Path].
func (h *Handler) Page(w http.ResponseWriter, r *http.Request) {
	login, user, ok := h.person(w, r)
	if !ok {
		return
	}
	apps, err := h.apps(r.Context(), login.User)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	secret := pages.CookieValue(r, h.cfg.Issuer, pages.LoginCookie)
	p := pages.AccountPage{
		Person: user.DisplayName, Apps: apps,
		RevokeAction: h.base + RevokePath, LogoutAction: h.base + logoutPath, LogoutCSRF: pages.CSRF(secret, LogoutAbout),
	}
	if p.Person == "" {
		p.Person = user.Name
	}
	for i := range p.Apps {
		p.Apps[i].CSRF = pages.CSRF(secret, revokeAbout(p.Apps[i].Client, p.Apps[i].GatewayID)...)
	}
	if r.URL.Query().Get("removed") != "" {
		p.Notice = "The app no longer has access."
	}
	h.render(w, r, http.StatusOK, p)
}

// Revoke serves [RevokePath].
func (h *Handler) Revoke(w http.ResponseWriter, r *http.Request) {
	login, _, ok := h.person(w, r)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.render(w, r, http.StatusBadRequest, pages.ErrorPage{Title: "The form cannot be read", Text: "Go back to your apps and try again.", Links: h.links()})
		return
	}
	client, gateway := r.PostForm.Get("client"), r.PostForm.Get("gateway")
	secret := pages.CookieValue(r, h.cfg.Issuer, pages.LoginCookie)
	if !pages.ValidCSRF(r.PostForm.Get("csrf"), secret, revokeAbout(client, gateway)...) {
		h.render(w, r, http.StatusForbidden, pages.ErrorPage{
			Title: "The form is not from this login",
			Text:  "You have logged in anew since the page was shown, or the form came from elsewhere. Go back to your apps and try again.",
			Links: h.links(),
		})
		return
	}
	if err := h.cfg.Revoker.RevokeConsent(r.Context(), login.User, client, gateway); err != nil {
		h.failed(w, r, fmt.Errorf("revoke a consent: %w", err))
		return
	}
	pages.Redirect(w, h.base+Path+"?"+url.Values{"removed": {"1"}}.Encode())
}

func revokeAbout(client, gateway string) []string { return []string{"revoke", client, gateway} }

// person returns who is logged in, or answers.
func (h *Handler) person(w http.ResponseWriter, r *http.Request) (*store.Login, *directory.User, bool) {
	login, err := h.cfg.Logins.Current(r)
	if err != nil {
		h.failed(w, r, err)
		return nil, nil, false
	}
	if login == nil {
		pages.Redirect(w, h.base+loginPath)
		return nil, nil, false
	}
	view := h.cfg.View()
	if view == nil {
		h.unavailable(w, r)
		return nil, nil, false
	}
	user := view.User(login.User)
	if user == nil {
		h.render(w, r, http.StatusForbidden, pages.ErrorPage{Title: "Your account is not active", Text: "Ask an administrator to activate it."})
		return nil, nil, false
	}
	return login, user, true
}

func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	h.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "an account page cannot be served", obs.Fault(err),
		slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID))
	if oauthfault.From(err).Code == oauthfault.TemporarilyUnavailable {
		h.unavailable(w, r)
		return
	}
	h.render(w, r, http.StatusInternalServerError, pages.ErrorPage{
		Title: "Something went wrong here",
		Text:  "Try again. If it happens again, give the request number below to an administrator.",
		Links: h.links(),
	})
}

func (h *Handler) unavailable(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	h.render(w, r, http.StatusServiceUnavailable, pages.ErrorPage{
		Title: "Not available at the moment", Text: "Wait a few seconds, then try again.", Links: h.links(),
	})
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, body pages.Body) {
	pages.Render(w, r, pages.Page{Status: status, Body: body, Base: h.base})
}

func (h *Handler) links() []pages.Link { return []pages.Link{{Text: "Your apps", URL: h.base + Path}} }
