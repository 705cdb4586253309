// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	ticketKind  = "upstream"
	journeyLife = 10 * time.Minute

	// journeyCookie is the base of the names of the cookies that bind a journey to its browser, each with a name of its own.
	journeyCookie = "penstock-upstream-"

	secretBytes = 32
	secretText  = 43 // base64url of it

	actionFailed = "upstream.credential.failed"

	// ReasonState: the answer belongs to no journey of this browser (Denied).
	ReasonState = "STATE_UNKNOWN"
)

// journey is the data of a ticket: nothing in it opens anything.
type journey struct {
	upstream.Journey

	Link    []byte `json:"link"`    // hash of the connect link's identifier
	Browser []byte `json:"browser"` // SHA-256 of the cookie's value
}

// held is what the browser holds of a journey: a secret, which the PKCE verifier is made of, and the link that it is for.
type held struct{ secret, link string }

func (h held) String() string { return h.secret + "." + h.link }

func parseHeld(value string) (held, bool) {
	secret, link, ok := strings.Cut(value, ".")
	return held{secret, link}, ok && len(secret) == secretText
}

// verifier returns the PKCE verifier of a journey: 43 characters, as RFC 7636 §4.1 wants.
func (h held) verifier(state string) string {
	m := hmac.New(sha256.New, []byte(h.secret))
	m.Write([]byte("verifier " + state))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func cookieOf(state store.Hash) string { return journeyCookie + hex.EncodeToString(state[:6]) }

// depart sends a person to the authorization server. Only here a state is made: after it is known that the link is hers (EL-6).
func (h *Handler) depart(w http.ResponseWriter, r *http.Request, v visit) {
	state, browser := random(), held{random(), v.id}
	more, err := h.scope(r.Context(), v.link)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	j, to, err := h.c.Upstream.Begin(r.Context(), v.server, upstream.Departure{State: state, Verifier: browser.verifier(state), Scopes: more})
	if err != nil {
		h.refused(w, r, v, err)
		return
	}
	sum := sha256.Sum256([]byte(browser.String()))
	data, err := json.Marshal(journey{Journey: j, Link: v.link.Hash[:], Browser: sum[:]})
	if err != nil {
		h.failed(w, r, fmt.Errorf("encode a journey: %w", err))
		return
	}
	hash := sha256.Sum256([]byte(state))
	t := store.Ticket{Kind: ticketKind, Hash: hash, Data: data, ExpireTime: h.now().Add(journeyLife)}
	err = h.c.Store.Update(r.Context(), func(ctx context.Context, tx store.OAuthTx) error { return tx.PutTicket(ctx, t) })
	if err != nil {
		h.failed(w, r, err)
		return
	}
	http.SetCookie(w, pages.Cookie(h.c.Issuer, cookieOf(hash), browser.String(), journeyLife))
	// Not a redirect: browsers check form-action against each of its hops, and an authorization server may have any.
	pages.Render(w, r, pages.Page{Base: h.base, Body: pages.AwayPage{Title: v.server.Title(), URL: to}})
}

// scope returns which scopes a link asks for besides those that the server wants of everybody.
func (h *Handler) scope(ctx context.Context, l store.ConnectLink) ([]string, error) {
	t, err := h.c.Store.Ticket(ctx, scopeKind, l.Hash)
	if err != nil && fault.From(err).Reason == store.ReasonRowMissing {
		return nil, nil
	}
	return strings.Fields(string(t.Data)), err
}

// Callback serves [upstream.CallbackPath]: a person comes back from an authorization server, with the cookie of the browser that
// left, its state, and an answer of the right issuer (EL-6).
func (h *Handler) Callback(w http.ResponseWriter, r *http.Request) {
	response := r.URL.Query()
	state := ""
	if len(response["state"]) == 1 {
		state = response.Get("state")
	}
	j, browser, err := h.take(r, state)
	if err != nil {
		h.astray(w, r, err)
		return
	}
	hash := sha256.Sum256([]byte(state))
	http.SetCookie(w, pages.Cookie(h.c.Issuer, cookieOf(hash), "", -1))
	// A redirect URI is one server's: an answer at another one's is passed off (UP-4).
	if j.Server != r.PathValue("server") {
		h.astray(w, r, unknown())
		return
	}
	v := visit{id: browser.link, view: h.c.View(), secret: pages.CookieValue(r, h.c.Issuer, pages.LoginCookie)}
	if v.view == nil {
		h.failed(w, r, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(5*time.Second))
		return
	}
	if v.link, err = h.find(r.Context(), v.id); err != nil || subtle.ConstantTimeCompare(v.link.Hash[:], j.Link) != 1 {
		if err == nil {
			err = over()
		}
		h.lost(w, r, err)
		return
	}
	if !h.person(w, r, &v) {
		return
	}
	code, err := j.Judge(response)
	if err == nil {
		err = h.complete(r.Context(), v.link, []string{"Authorization"}, func(ctx context.Context) (vault.Secret, error) {
			return h.c.Upstream.Finish(ctx, v.server, j.Journey, code, browser.verifier(state))
		})
	}
	if err != nil {
		h.refused(w, r, v, err)
		return
	}
	h.connected(w, r, v)
}

// take uses up the journey of a state, if this browser began it. Another browser cannot use it up.
func (h *Handler) take(r *http.Request, state string) (j journey, b held, err error) {
	if len(state) != secretText {
		return j, b, unknown()
	}
	hash := sha256.Sum256([]byte(state))
	t, err := h.c.Store.Ticket(r.Context(), ticketKind, hash)
	switch {
	case err != nil && fault.From(err).Reason == store.ReasonRowMissing:
		return j, b, unknown().Because(err)
	case err != nil:
		return j, b, err
	case !h.now().Before(t.ExpireTime):
		return j, b, unknown()
	}
	if err := json.Unmarshal(t.Data, &j); err != nil {
		return j, b, fmt.Errorf("decode a journey: %w", err)
	}
	value := pages.CookieValue(r, h.c.Issuer, cookieOf(hash))
	sum := sha256.Sum256([]byte(value))
	b, ok := parseHeld(value)
	if !ok || subtle.ConstantTimeCompare(sum[:], j.Browser) != 1 {
		return j, b, unknown()
	}
	err = h.c.Store.Update(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.TakeTicket(ctx, ticketKind, hash)
		return err
	})
	if err != nil && fault.From(err).Reason == store.ReasonRowMissing {
		err = unknown().Because(err)
	}
	return j, b, err
}

func unknown() *fault.Fault {
	return fault.New(fault.Denied, ReasonState, "The answer belongs to no journey of this browser.")
}

// astray answers a browser that comes back from a journey that it did not begin.
func (h *Handler) astray(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	if f.Reason != ReasonState {
		h.failed(w, r, err)
		return
	}
	e := reqctx.Event(r.Context(), actionFailed, resultRefused)
	e.Reason = strings.ToLower(f.Reason)
	h.note(r, e)
	h.render(w, r, http.StatusBadRequest, pages.ErrorPage{
		Title: "The connection is over", Code: f.Reason,
		Text: "It was finished before, took longer than ten minutes, or began in another browser. Go back to your client and try again.",
	})
}

// unmended answers where an authorization server cannot be used or said no, and tells administrators why, in the log and in the
// audit log (§16 157).
func (h *Handler) unmended(w http.ResponseWriter, r *http.Request, v visit, err error) {
	f := fault.From(err)
	e := event(r.Context(), v.link, actionFailed, resultRefused, v.link.User)
	e.Reason = strings.ToLower(f.Reason)
	h.note(r, e)
	h.c.Log.WarnContext(r.Context(), "server not connected", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID),
		slog.String(obs.AttrServer, v.link.Server), obs.Fault(err), slog.String("detail", f.Public))
	p := pages.ErrorPage{
		Title: v.server.Title() + " cannot be connected", Code: f.Reason,
		Text:  f.Public + " Tell your administrator the request number.",
		Links: []pages.Link{{Text: "Open the link again", URL: h.base + Onward(v.id)}},
	}
	if f.Reason == upstream.ReasonRefused {
		p.Title, p.Text = v.server.Title()+" is not connected", "You or the authorization server refused. You can try again."
	}
	h.render(w, r, http.StatusBadRequest, p)
}

func (h *Handler) note(r *http.Request, e store.Event) {
	if err := h.record(r.Context(), e); err != nil {
		h.c.Log.ErrorContext(r.Context(), "refused connection not recorded", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID), obs.Fault(err))
	}
}

func random() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
