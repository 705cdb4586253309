// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	secretBytes = 32
	secretText  = 43 // base64url of it

	// touchEvery is how exactly the last use of a login is known; it keeps reads from becoming writes.
	touchEvery = time.Minute
	// settleTime is how long a new user may take to reach the directory of every process.
	settleTime = time.Minute

	logoutAbout = "logout" // what the token of the log-out form is about
)

// Current returns the login that a request's cookie belongs to, nil if there is none that is good: it is over, unused for 12
// hours, nobody can log in that way any more, or its user is gone or deactivated, which ends it for good. The faults are
// Unavailable.
func (l *Login) Current(r *http.Request) (*store.Login, error) {
	hash, ok := secretHash(pages.CookieValue(r, l.c.Issuer, pages.LoginCookie))
	if !ok {
		return nil, nil
	}
	view, err := l.view()
	if err != nil {
		return nil, err
	}
	ctx, now := r.Context(), l.now()
	found, err := l.c.Store.Login(ctx, hash)
	switch {
	case isMissing(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !now.Before(found.ExpireTime) || now.Sub(found.UseTime) >= IdleLife:
		return nil, nil
	case view.User(found.User) == nil:
		if began := found.ExpireTime.Add(-Life); now.Sub(began) < settleTime {
			return nil, nil // perhaps a user whom this process does not know of yet
		}
		return nil, l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteLogin(ctx, hash) })
	case !l.offers(view, found.Provider):
		return nil, nil
	case now.Sub(found.UseTime) < touchEvery:
		return &found, nil
	}
	found.UseTime = now
	err = l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.TouchLogin(ctx, hash, now) })
	if err != nil { // the login is good nevertheless
		l.c.Log.WarnContext(ctx, "use of a login not noted", obs.Fault(err))
	}
	return &found, nil
}

// offers reports whether people can log in with a provider, or, without one, with a password. What an organisation does not
// rely on any more proves nothing, however long ago it was asked.
func (l *Login) offers(view *directory.View, provider string) bool {
	if provider == "" {
		return l.c.LocalUsers
	}
	return view.Provider(provider) != nil
}

// End ends every login of a user, by uid: whoever deactivates somebody calls it.
func (l *Login) End(ctx context.Context, user string) error {
	return l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteLogins(ctx, user) })
}

// begin logs somebody in: with a new secret, so that one planted before is worth nothing (AZ-22). still, if it is not nil, checks
// in the transaction that what was proved is still so.
func (l *Login) begin(
	w http.ResponseWriter, r *http.Request, n store.Login, still func(ctx context.Context, tx store.OAuthTx) error,
) error {
	secret := newSecret()
	hash, _ := secretHash(secret)
	old, hadOld := secretHash(pages.CookieValue(r, l.c.Issuer, pages.LoginCookie))
	now := l.now()
	n.Hash, n.UseTime, n.ExpireTime = hash, now, now.Add(Life)
	if n.AuthTime.IsZero() {
		n.AuthTime = now
	}
	e := reqctx.Event(r.Context(), actionOK, resultOK)
	e.ActorType, e.Actor, e.Target = actorUser, n.User, n.Provider
	err := l.change(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		if still != nil {
			if err := still(ctx, tx); err != nil {
				return err
			}
		}
		if hadOld {
			if err := tx.DeleteLogin(ctx, old); err != nil {
				return err
			}
		}
		return errors.Join(tx.PutLogin(ctx, n), tx.Record(ctx, e))
	})
	if err != nil {
		return err
	}
	http.SetCookie(w, pages.Cookie(l.c.Issuer, pages.LoginCookie, secret, Life))
	return nil
}

// Logout serves [LogoutPath]: it ends the login of the browser (AZ-22).
func (l *Login) Logout(w http.ResponseWriter, r *http.Request) {
	secret := pages.CookieValue(r, l.c.Issuer, pages.LoginCookie)
	if hash, ok := secretHash(secret); ok {
		if r.ParseForm() != nil || !pages.ValidCSRF(r.PostForm.Get("csrf"), secret, logoutAbout) {
			l.foreign(w, r, "")
			return
		}
		if err := l.logout(r, hash); err != nil {
			l.failed(w, r, err)
			return
		}
	}
	http.SetCookie(w, pages.Cookie(l.c.Issuer, pages.LoginCookie, "", -1))
	pages.Render(w, r, pages.Page{Base: l.base, Body: pages.NoticePage{
		Title: "You are logged out", Text: "Apps that you connected keep their access until you remove it.",
		Links: []pages.Link{{Text: "Log in again", URL: l.base + PagePath}},
	}})
}

func (l *Login) logout(r *http.Request, hash store.Hash) error {
	e := reqctx.Event(r.Context(), actionEnded, resultOK)
	return l.change(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		found, err := tx.Login(ctx, hash)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		e.ActorType, e.Actor, e.Target = actorUser, found.User, found.Provider
		return errors.Join(tx.DeleteLogin(ctx, hash), tx.Record(ctx, e))
	})
}

func (l *Login) change(ctx context.Context, fn func(ctx context.Context, tx store.OAuthTx) error) error {
	return l.c.Store.Update(ctx, fn)
}

// newSecret returns 32 random bytes as text.
func newSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails: the runtime ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// secretHash returns what is stored of a secret; ok is false for what is none.
func secretHash(secret string) (hash store.Hash, ok bool) {
	if len(secret) != secretText {
		return hash, false
	}
	return sha256.Sum256([]byte(secret)), true
}

func isMissing(err error) bool { return err != nil && fault.From(err).Reason == store.ReasonRowMissing }
