// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Path is where the handler is served, below the issuer's path.
const Path = "/api/auth/oauth2/consent"

// maxForm is the size of a form, in bytes.
const maxForm = 16 << 10

// Config is what a [Handler] needs. All but Log is required.
type Config struct {
	Issuer  string
	Store   store.OAuth
	View    func() *directory.View // nil before the first state
	Clients ask.Clients
	Logins  ask.Logins
	// CodeTTL is the life of a code (AZ-19), GrantTTL the absolute one of what it is redeemed for (TK-6).
	CodeTTL, GrantTTL time.Duration
	Now               func() time.Time
	Log               *slog.Logger
}

// Handler serves [Path]: GET decides or asks, POST takes the person's decision.
type Handler struct {
	cfg  Config
	desk *ask.Desk
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if cfg.View == nil {
		return nil, errors.New("consent needs a directory")
	}
	if cfg.CodeTTL <= 0 || cfg.GrantTTL <= 0 {
		return nil, errors.New("the lives of codes and grants must be positive")
	}
	desk, err := ask.New(ask.Config{Issuer: cfg.Issuer, Store: cfg.Store, Clients: cfg.Clients, Logins: cfg.Logins, Now: cfg.Now, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	return &Handler{cfg: cfg, desk: desk}, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		h.get(w, r)
	case http.MethodPost:
		h.post(w, r)
	default: // HEAD too: a look must not issue a code
		w.Header().Set("Allow", "GET, POST")
		h.desk.Page(w, r, http.StatusMethodNotAllowed, "This page cannot be used so", "Go back to the app and start again.", "")
	}
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request) {
	q, ok := h.read(w, r, r.URL.Query())
	if !ok {
		return
	}
	login, ok := h.login(w, r, q)
	if !ok {
		return
	}
	d, ok := h.decide(w, r, q, login, false)
	if !ok {
		return
	}
	switch {
	case !d.ask:
		h.issue(w, r, q, d)
	case q.Silent:
		h.desk.Refuse(w, r, d.Case, oauthfault.New(oauthfault.ConsentRequired, "The person has to be asked, which prompt=none forbids."))
	default:
		h.page(w, r, q, d)
	}
}

// read finds the request that a form or address names, or answers.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, form url.Values) (ask.Waiting, bool) {
	var secret string
	if values := form["request"]; len(values) == 1 {
		secret = values[0]
	}
	q, err := h.desk.Read(r, secret)
	if err != nil {
		h.desk.FaultPage(w, r, err)
		return ask.Waiting{}, false
	}
	return q, true
}

// login returns who is logged in as freshly as the request wants it, or answers.
func (h *Handler) login(w http.ResponseWriter, r *http.Request, q ask.Waiting) (*store.Login, bool) {
	login, err := h.cfg.Logins.Current(r)
	if err != nil {
		h.fail(w, r, q, err)
		return nil, false
	}
	if good(login, q) {
		return login, true
	}
	if !q.Silent {
		h.desk.Login(w, q.Secret)
		return nil, false
	}
	client, err := h.desk.Client(r, q.Client)
	if err != nil {
		h.desk.ClientPage(w, r, q.Client, err)
		return nil, false
	}
	h.desk.Refuse(w, r, ask.Case{Request: q.Request, Client: client},
		oauthfault.New(oauthfault.LoginRequired, "Nobody is logged in, and prompt=none forbids to ask."))
	return nil, false
}

// good reports whether somebody is logged in, and as freshly as the request wants it.
func good(login *store.Login, q ask.Waiting) bool {
	return login != nil && (!q.Fresh || login.AuthTime.After(q.Time))
}

// fail answers for an error before the request is decided.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, q ask.Waiting, err error) {
	client, missing := h.desk.Client(r, q.Client)
	if missing != nil {
		h.desk.FaultPage(w, r, err)
		return
	}
	h.desk.Refuse(w, r, ask.Case{Request: q.Request, Client: client}, oauthfault.From(err))
}

func (h *Handler) post(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		h.desk.Page(w, r, http.StatusBadRequest, "The form cannot be read", "Go back to the app and start again.", "")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		h.desk.Page(w, r, http.StatusBadRequest, "The form cannot be read", "Go back to the app and start again.", "")
		return
	}
	q, ok := h.read(w, r, r.PostForm)
	if !ok {
		return
	}
	login, err := h.cfg.Logins.Current(r)
	if err != nil {
		h.fail(w, r, q, err)
		return
	}
	if !good(login, q) || !q.ValidCSRF(r.PostForm.Get("csrf"), about(login)...) {
		h.desk.PageRefused(w, r, q.Client, "csrf", pages.ErrorPage{
			Title: "The form is not from this login",
			Text:  "You have logged out or logged in anew since the page was shown, or the form came from elsewhere. Go back to the app and start again.",
		}, http.StatusForbidden)
		return
	}
	d, ok := h.decide(w, r, q, login, true)
	if !ok {
		return
	}
	switch r.PostForm.Get("decision") {
	case "deny":
		h.deny(w, r, q, d)
	case "allow":
		if !q.ValidCSRF(r.PostForm.Get("seen"), d.facts()...) {
			h.page(w, r, q, d) // it is about something else by now: show that
			return
		}
		d.ask = true // she was asked, whatever is stored
		h.issue(w, r, q, d)
	default:
		h.desk.Page(w, r, http.StatusBadRequest, "The form cannot be read", "Go back to the app and start again.", "")
	}
}

// about ties a form to a login: the token of another session is of no use.
func about(l *store.Login) []string { return []string{"consent", hex.EncodeToString(l.Hash[:])} }

func (h *Handler) page(w http.ResponseWriter, r *http.Request, q ask.Waiting, d decision) {
	h.desk.Render(w, r, http.StatusOK, pages.ConsentPage{
		Destination: ask.Destination(q.Request, d.Client, d.Gateway), Person: d.person(), Scopes: pages.Scopes(d.scopes),
		Request: q.Secret, CSRF: q.CSRF(about(d.login)...), Seen: q.CSRF(d.facts()...),
	})
}
