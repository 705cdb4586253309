// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	ticketKind  = "federation"
	attemptLife = 10 * time.Minute // AZ-11

	// finishTimeout bounds everything that a callback waits for together: each part has a bound of its own.
	finishTimeout = 20 * time.Second

	// federationCookie is the base of the names of the cookies that bind a login at a provider to the browser. Each has a name
	// of its own, or two tabs would log each other out of their logins.
	federationCookie = "penstock-federation-"
)

// attempt is the data of a ticket: nothing in it opens anything.
type attempt struct {
	Provider string    `json:"provider"` // name
	Browser  []byte    `json:"browser"`  // SHA-256 of the cookie's value, which has the request
	Time     time.Time `json:"time"`
	Again    bool      `json:"again,omitempty"` // the provider was to ask the person again

	// Of a login that somebody was sent to, see [Login.Send].
	User   string        `json:"user,omitempty"`    // uid of who was sent; empty: whoever comes
	MaxAge time.Duration `json:"max_age,omitempty"` // how long ago the provider may have asked who it is; 0: as long as it likes
}

// held is what the browser holds of an attempt. The nonce and the PKCE verifier are made of it, so that neither is stored.
type held struct {
	secret  string
	request string // secret of the authorization request that waits; empty: none
}

func (h held) String() string { return h.secret + "." + h.request }

func parseHeld(value string) (held, bool) {
	secret, request, ok := strings.Cut(value, ".")
	_, whole := secretHash(secret)
	return held{secret, request}, ok && whole
}

// derive returns a secret for one purpose of one attempt: 43 characters, as RFC 7636 §4.1 wants.
func (h held) derive(purpose, state string) string {
	m := hmac.New(sha256.New, []byte(h.secret))
	m.Write([]byte(purpose + " " + state))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (l *Login) federation(h held, state, provider string, again bool) federation.Attempt {
	return federation.Attempt{
		State: state, Nonce: h.derive("nonce", state), Verifier: h.derive("verifier", state),
		RedirectURI: l.absolute(callbackPrefix + provider), Again: again,
	}
}

// cookieOf returns the base of the name of an attempt's cookie.
func cookieOf(state store.Hash) string { return federationCookie + hex.EncodeToString(state[:6]) }

// Provider serves [ProviderPath]: the click that approves a login at a provider. Only it makes a state (AZ-11).
func (l *Login) Provider(w http.ResponseWriter, r *http.Request) {
	f, ok := l.posted(w, r)
	if !ok {
		return
	}
	idp := f.view.Provider(r.PathValue("provider"))
	if idp == nil {
		l.unknown(w, r, r.PathValue("provider"))
		return
	}
	l.depart(w, r, idp, f.request, attempt{Again: f.destination != nil && f.destination.Fresh}, federation.Proof{})
}

// depart makes an attempt and leads to the provider.
func (l *Login) depart(w http.ResponseWriter, r *http.Request, idp *directory.Provider, request string, a attempt, proof federation.Proof) {
	state, h := newSecret(), held{newSecret(), request}
	asked := l.federation(h, state, idp.Name, a.Again)
	asked.Proof = proof
	to, err := l.party.AuthURL(r.Context(), idp, asked)
	if err != nil {
		l.rejected(w, r, idp, request, err)
		return
	}
	hash, _ := secretHash(state)
	browser := sha256.Sum256([]byte(h.String()))
	now := l.now()
	a.Provider, a.Browser, a.Time, a.MaxAge = idp.Name, browser[:], now, proof.MaxAge
	data, err := json.Marshal(a)
	if err != nil {
		l.failed(w, r, fmt.Errorf("encode a login: %w", err))
		return
	}
	err = l.change(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutTicket(ctx, store.Ticket{Kind: ticketKind, Hash: hash, Data: data, ExpireTime: now.Add(attemptLife)})
	})
	if err != nil {
		l.failed(w, r, err)
		return
	}
	http.SetCookie(w, pages.Cookie(l.c.Issuer, cookieOf(hash), h.String(), attemptLife))
	// Not a redirect: browsers check form-action against each of its hops, and a provider may have any.
	pages.Render(w, r, pages.Page{Base: l.base, Body: pages.AwayPage{Title: idp.Title(), URL: to}})
}

// Callback serves [CallbackPath]: the browser comes back from a provider.
func (l *Login) Callback(w http.ResponseWriter, r *http.Request) {
	view, err := l.view()
	if err != nil {
		l.failed(w, r, err)
		return
	}
	name, response := r.PathValue("provider"), r.URL.Query()
	state := ""
	if len(response["state"]) == 1 {
		state = response.Get("state")
	}
	a, h, err := l.take(r, state)
	if err != nil {
		l.lost(w, r, name, err)
		return
	}
	hash, _ := secretHash(state)
	http.SetCookie(w, pages.Cookie(l.c.Issuer, cookieOf(hash), "", -1))
	idp := view.Provider(name)
	if idp == nil || a.Provider != name {
		l.unknown(w, r, name)
		return
	}
	n, tokens, err := l.finish(r.Context(), view, idp, a, h, response)
	if err != nil {
		l.rejected(w, r, idp, h.request, err)
		return
	}
	if a.User != "" && a.User != n.User { // nothing of somebody else who comes back counts: neither a login nor tokens
		l.c.Returned(w, r, h.request, n.User)
		return
	}
	if err := l.begin(w, r, n, nil); err != nil {
		l.failed(w, r, err)
		return
	}
	l.keep(r.Context(), n.User, idp, tokens)
	if a.User != "" {
		l.c.Returned(w, r, h.request, n.User)
		return
	}
	pages.Redirect(w, l.onward(h.request))
}

// take uses up the attempt of a state, if this browser began it. Another browser cannot use it up.
func (l *Login) take(r *http.Request, state string) (attempt, held, error) {
	unknown := fault.New(fault.Denied, ReasonState, "The login is over.")
	hash, ok := secretHash(state)
	if !ok {
		return attempt{}, held{}, unknown
	}
	t, err := l.c.Store.Ticket(r.Context(), ticketKind, hash)
	switch {
	case isMissing(err):
		return attempt{}, held{}, unknown
	case err != nil:
		return attempt{}, held{}, err
	case !l.now().Before(t.ExpireTime):
		return attempt{}, held{}, unknown
	}
	var a attempt
	if err := json.Unmarshal(t.Data, &a); err != nil {
		return attempt{}, held{}, fmt.Errorf("decode a login: %w", err)
	}
	value := pages.CookieValue(r, l.c.Issuer, cookieOf(hash))
	browser := sha256.Sum256([]byte(value))
	h, ok := parseHeld(value)
	if !ok || subtle.ConstantTimeCompare(browser[:], a.Browser) != 1 {
		return attempt{}, held{}, fault.New(fault.Denied, ReasonBrowser, "The login belongs to another browser.")
	}
	err = l.change(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.TakeTicket(ctx, ticketKind, hash)
		return err
	})
	if isMissing(err) {
		err = unknown
	}
	return a, h, err
}

// finish redeems the answer of a provider and finds the user.
func (l *Login) finish(
	ctx context.Context, view *directory.View, idp *directory.Provider, a attempt, h held, response url.Values,
) (store.Login, federation.Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	secret, err := l.secretOf(ctx, idp)
	if err != nil {
		return store.Login{}, federation.Tokens{}, err
	}
	account, err := l.party.Finish(ctx, idp, secret, response, l.federation(h, response.Get("state"), idp.Name, a.Again))
	if err != nil {
		return store.Login{}, federation.Tokens{}, err
	}
	n := store.Login{Provider: idp.Name, Session: account.Session, AMR: account.AMR}
	past := account.AuthTime
	if !past.IsZero() && past.Before(a.Time.Add(-time.Minute)) {
		n.AuthTime = past // she was logged in there before
	}
	// With max_age, auth_time has to be there (OpenID Connect Core 1.0 §3.1.2.1).
	if a.Again && !n.AuthTime.IsZero() || a.MaxAge > 0 && past.Before(a.Time.Add(-a.MaxAge-time.Minute)) {
		return store.Login{}, federation.Tokens{}, fault.New(fault.Denied, ReasonFresh, "The identity provider did not ask who you are.")
	}
	n.User, err = l.userOf(ctx, view, idp, account)
	return n, account.Tokens, err
}

// secretOf opens the client secret of a provider, empty if it has none.
func (l *Login) secretOf(ctx context.Context, idp *directory.Provider) (secret obs.Secret, err error) {
	if idp.SecretVersion == "" {
		return "", nil
	}
	s, err := l.c.Secrets.Resolve(ctx, idp.UID, idp.SecretVersion)
	if err == nil && s.ClientSecret == "" {
		err = fault.New(fault.Precondition, ReasonSecret, "The identity provider has no client secret stored.")
	}
	return s.ClientSecret, err
}
