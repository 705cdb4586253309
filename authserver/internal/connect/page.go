// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	loginPath   = "/login"
	accountPath = "/account"

	formAbout   = "connect" // what the token of a form is about, with the link
	fieldPrefix = "header"
)

// visit is a link with its person before it.
type visit struct {
	id     string
	link   store.ConnectLink
	server *directory.Server
	user   *directory.User
	view   *directory.View
	secret string // of the login's cookie
}

// ServeHTTP serves [Path]: GET is a form for a credential, POST puts it into the vault and tells the control plane of it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, ok := h.open(w, r)
	switch {
	case !ok:
	case r.Method == http.MethodPost:
		h.submit(w, r, v)
	default:
		h.ask(w, r, http.StatusOK, v, "")
	}
}

func (h *Handler) submit(w http.ResponseWriter, r *http.Request, v visit) {
	if err := r.ParseForm(); err != nil {
		h.render(w, r, http.StatusBadRequest, pages.ErrorPage{Title: "The form cannot be read", Text: "Go back and try again."})
		return
	}
	if !pages.ValidCSRF(r.PostForm.Get("csrf"), v.secret, formAbout, v.id) {
		h.render(w, r, http.StatusForbidden, pages.ErrorPage{
			Title: "The form is not from this login",
			Text:  "You have logged in anew since the page was shown, or the form came from elsewhere. Open the link again.",
			Links: []pages.Link{{Text: "Open the link again", URL: h.base + Onward(v.id)}},
		})
		return
	}
	switch {
	case v.server.Provider() != "":
		h.identify(w, r, v)
		return
	case v.server.OAuth != nil:
		h.depart(w, r, v)
		return
	}
	secret, complete := typed(r.PostForm, v.server.Headers)
	if !complete {
		h.ask(w, r, http.StatusBadRequest, v, "Fill in every field.")
		return
	}
	tried := false
	err := h.complete(r.Context(), v.link, v.server.Headers, func(ctx context.Context) (vault.Secret, error) {
		if err := secret.Check(); err != nil {
			return secret, err
		}
		var err error
		tried, err = h.c.Upstream.Try(ctx, v.server, secret)
		return secret, err
	})
	switch {
	case err != nil:
		h.refused(w, r, v, err)
	case !tried:
		h.render(w, r, http.StatusOK, pages.NoticePage{
			Title: v.server.Title() + " is connected",
			Text:  "Connected. " + goBack(v.link) + " Whether the server takes what you typed could not be tried from here.",
		})
	default:
		h.connected(w, r, v)
	}
}

func (h *Handler) connected(w http.ResponseWriter, r *http.Request, v visit) {
	h.render(w, r, http.StatusOK, pages.NoticePage{
		Title: v.server.Title() + " is connected", Text: "Connected. " + goBack(v.link),
	})
}

// goBack says what a person does next: where no call led to the link, no client waits.
func goBack(l store.ConnectLink) string {
	if l.Gateway == "" {
		return "Go back to where you asked for the link: the tools of the server can be discovered now."
	}
	return "Go back to your client and try again."
}

// typed reads the values of a form. White space around them came with a paste: no header may have it.
func typed(form url.Values, headers []string) (s vault.Secret, complete bool) {
	s.Headers = make(map[string]obs.Secret, len(headers))
	for i, name := range headers {
		value := strings.TrimSpace(form.Get(fieldPrefix + strconv.Itoa(i)))
		if value == "" {
			return vault.Secret{}, false
		}
		s.Headers[name] = obs.Secret(value)
	}
	return s, true
}

// open finds a link that can be used and whose person is logged in (EL-4), or answers.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) (visit, bool) {
	v := visit{id: r.PathValue("link"), view: h.c.View(), secret: pages.CookieValue(r, h.c.Issuer, pages.LoginCookie)}
	if v.view == nil {
		h.failed(w, r, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(5*time.Second))
		return v, false
	}
	var err error
	if v.link, err = h.find(r.Context(), v.id); err != nil {
		h.lost(w, r, err)
		return v, false
	}
	ok := h.person(w, r, &v)
	return v, ok
}

// person checks that the person of a link is logged in and may use it, or answers.
func (h *Handler) person(w http.ResponseWriter, r *http.Request, v *visit) bool {
	login, err := h.c.Logins.Current(r)
	switch {
	case err != nil:
		h.failed(w, r, err)
		return false
	case login == nil:
		pages.Redirect(w, h.base+loginPath+"?"+url.Values{"request": {v.id}}.Encode())
		return false
	}
	return h.may(w, r, v, login.User)
}

// may checks that somebody (uid) who is logged in is the person of a link and may use it, or answers.
func (h *Handler) may(w http.ResponseWriter, r *http.Request, v *visit, user string) bool {
	if user != v.link.User {
		h.mismatch(w, r, v.link, user)
		return false
	}
	if v.user = v.view.User(user); v.user == nil {
		h.render(w, r, http.StatusForbidden, pages.ErrorPage{Title: "Your account is not active", Text: "Ask an administrator to activate it."})
		return false
	}
	if v.server = v.view.Server(v.link.Server); v.server == nil || !v.server.Connectable() {
		h.lost(w, r, over())
		return false
	}
	return true
}

func (h *Handler) ask(w http.ResponseWriter, r *http.Request, status int, v visit, problem string) {
	p := pages.ConnectPage{
		Server: v.server.Title(), Host: hostOf(v.server.URL), Gateway: v.link.Gateway, Client: v.link.Client, Person: v.user.DisplayName,
		Action: h.base + Onward(v.id), CSRF: pages.CSRF(v.secret, formAbout, v.id), Error: problem,
	}
	if g := v.view.GatewayByName(v.link.Gateway); g != nil {
		p.Gateway = g.Title()
	}
	if p.Person == "" {
		p.Person = v.user.Name
	}
	if name := v.server.Provider(); name != "" {
		if p.Provider = name; v.view.Provider(name) != nil {
			p.Provider = v.view.Provider(name).Title()
		}
	}
	for i, name := range v.server.Headers {
		f := pages.SecretField{ID: fieldPrefix + strconv.Itoa(i), Name: name}
		if strings.EqualFold(name, "Authorization") {
			f.Hint = "The whole value, for example Bearer and your token."
		}
		p.Fields = append(p.Fields, f)
	}
	h.render(w, r, status, p)
}

// mismatch answers somebody who opens another person's link (EL-4, §16 149). Nothing says whose it is.
func (h *Handler) mismatch(w http.ResponseWriter, r *http.Request, l store.ConnectLink, user string) {
	e := event(r.Context(), l, actionMismatch, resultRefused, user)
	e.Reason = "user_mismatch"
	if err := h.record(r.Context(), e); err != nil {
		h.c.Log.ErrorContext(r.Context(), "foreign connect link not recorded",
			slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID), obs.Fault(err))
	}
	h.render(w, r, http.StatusForbidden, pages.ErrorPage{
		Title: "This link is not yours",
		Text:  "It was made for somebody else. If you were sent it, do not use it, and tell your administrator the request number.",
		Links: []pages.Link{{Text: "Your apps", URL: h.base + accountPath}},
	})
}

// lost answers for a link that is of no use (EL-5).
func (h *Handler) lost(w http.ResponseWriter, r *http.Request, err error) {
	if fault.From(err).Reason != ReasonOver {
		h.failed(w, r, err)
		return
	}
	h.render(w, r, http.StatusGone, pages.ErrorPage{
		Title: "The link is over", Text: "It was used before, is older than ten minutes, or its server was removed. Go back to your client and try again: it gets a new one.",
	})
}

// refused answers for a credential that was not stored.
func (h *Handler) refused(w http.ResponseWriter, r *http.Request, v visit, err error) {
	f := fault.From(err)
	switch {
	case f.Reason == ReasonOver, f.Reason == directory.ReasonServerUnknown:
		h.lost(w, r, over())
	case f.Reason == vault.ReasonInvalid:
		h.ask(w, r, http.StatusBadRequest, v, "A value cannot be sent as a header: it has a character that is not allowed, or more than 16 KiB.")
	case f.Reason == upstream.ReasonValue:
		e := event(r.Context(), v.link, actionDone, resultRefused, v.link.User)
		e.Reason = "credential_refused"
		if err := h.record(r.Context(), e); err != nil {
			h.c.Log.ErrorContext(r.Context(), "refused credential not recorded", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID), obs.Fault(err))
		}
		h.ask(w, r, http.StatusBadRequest, v, "The server refuses this value. Check it, and type it again.")
	case f.Kind == fault.Precondition, f.Reason == upstream.ReasonRefused:
		h.unmended(w, r, v, err)
	case f.Reason == directory.ReasonConnectNotAllowed, f.Reason == directory.ReasonDeactivated:
		h.render(w, r, http.StatusForbidden, pages.ErrorPage{
			Title: "You may not connect " + v.server.Title(), Code: f.Reason, Text: "Ask the administrator of Penstock in your organisation for access to the server.",
		})
	default:
		h.failed(w, r, err)
	}
}

// failed answers for an error that is nobody's refusal, and logs it.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	status, level, p := http.StatusInternalServerError, slog.LevelError, pages.ErrorPage{
		Title: "An internal error occurred", Text: "Try again, and tell your administrator the request number if it happens again.",
	}
	switch f.Kind {
	case fault.Canceled:
		return // nobody is left to tell
	case fault.Unavailable, fault.Timeout:
		status, level, p = http.StatusServiceUnavailable, slog.LevelWarn, pages.ErrorPage{
			Title: "Not available at the moment", Text: "Something that is needed for it cannot be reached. Try again soon.",
		}
		w.Header().Set("Retry-After", "5")
	default:
	}
	h.c.Log.LogAttrs(r.Context(), level, "a connect page cannot be served", obs.Fault(err),
		slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID))
	h.render(w, r, status, p)
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, body pages.Body) {
	pages.Render(w, r, pages.Page{Status: status, Body: body, Base: h.base})
}

// hostOf returns the host that a credential is sent to, for people.
func hostOf(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return u.Host
}
