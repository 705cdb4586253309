// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	// ReasonUserMissing: there is no such user, or it is deactivated (NotFound).
	ReasonUserMissing = "USER_MISSING"

	maxEmail = 254
	amrPWD   = "pwd" // RFC 8176
)

// Password serves [PasswordPath]: somebody says who she is and proves it with a password. Answers and times are the same for a
// wrong password, a user without one, and nobody (RL-5).
func (l *Login) Password(w http.ResponseWriter, r *http.Request) {
	if !l.c.LocalUsers {
		l.refuse(w, r, http.StatusNotFound, pages.ErrorPage{Title: "There are no passwords here", Text: "Log in with an identity provider."})
		return
	}
	f, ok := l.posted(w, r)
	if !ok {
		return
	}
	ctx := r.Context()
	f.email = strings.TrimSpace(r.PostForm.Get("email"))
	f.email = f.email[:min(len(f.email), maxEmail)]
	key := limit.Pair(strings.ToLower(f.email), reqctx.From(ctx).IP)
	if wait, ok := l.delay.Attempt(ctx, key); !ok {
		l.record(ctx, refusal{reason: ReasonTooMany})
		retryAfter(w, wait)
		f.problem = "There were too many attempts. Wait a minute, then try again."
		l.ask(w, r, http.StatusTooManyRequests, f)
		return
	}
	p, ok, err := l.check(ctx, f, r.PostForm.Get("password"))
	if ok {
		err = l.begin(w, r, store.Login{User: p.User, AMR: []string{amrPWD}}, p.unchanged)
	}
	changed := errors.Is(err, errChanged)
	switch {
	case err != nil && !changed:
		l.failed(w, r, err)
	case !ok || changed:
		l.record(ctx, refusal{reason: ReasonPassword, user: p.User})
		f.problem = "The e-mail address or the password is wrong."
		l.ask(w, r, http.StatusBadRequest, f)
	default:
		l.delay.Succeeded(ctx, key)
		pages.Redirect(w, l.onward(f.request))
	}
}

// proved is the password that somebody knew.
type proved store.Password

// errChanged: the password was changed while it was compared.
var errChanged = errors.New("the password was changed")

// unchanged keeps a login with an old password from outliving the change that ended all logins with it.
func (p proved) unchanged(ctx context.Context, tx store.OAuthTx) error {
	now, err := tx.Password(ctx, p.User)
	if isMissing(err) || err == nil && now.Encoded != p.Encoded {
		return errChanged
	}
	return err
}

// check compares a password. It does the same work whether or not there is such a user.
func (l *Login) check(ctx context.Context, f form, typed string) (p proved, ok bool, err error) {
	if user := f.view.UserByName(f.email); user != nil {
		p.User = user.UID
	}
	stored, err := l.c.Store.Password(ctx, p.User)
	if err != nil && !isMissing(err) {
		return p, false, err
	}
	p.Encoded = stored.Encoded
	ok, err = l.hasher.Verify(ctx, p.Encoded, password.Prepare(typed))
	return p, ok && err == nil && p.User != "", err
}

// SetPassword sets the password of a user (uid), or removes it if it is empty, and ends the user's logins: whoever knew the
// old one is out. The faults are Invalid PASSWORD_INVALID (shorter than 12 or longer than 256 characters, or the e-mail
// address itself) and NotFound USER_MISSING.
func (l *Login) SetPassword(ctx context.Context, uid, text string) error {
	if text == "" {
		return l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error {
			return errors.Join(tx.DeletePassword(ctx, uid), tx.DeleteLogins(ctx, uid), tx.Record(ctx, passwordEvent(ctx, uid, "password.removed")))
		})
	}
	text = password.Prepare(text)
	if err := password.Check(text); err != nil {
		return err
	}
	unsettled := l.settled(ctx, uid) // an administrator may have made the user just before
	if ctx.Err() != nil {
		return unsettled
	}
	view, err := l.view()
	if err != nil {
		return err
	}
	user := view.User(uid)
	if user == nil {
		return fault.New(fault.NotFound, ReasonUserMissing, "There is no such active user.").Because(unsettled)
	}
	if strings.EqualFold(text, user.Name) {
		return fault.New(fault.Invalid, password.ReasonInvalid, "The password is the e-mail address.").At("password", "is the e-mail address")
	}
	encoded, err := l.hasher.Hash(ctx, text)
	if err != nil {
		return err
	}
	p := store.Password{User: uid, Encoded: encoded, UpdateTime: l.now()}
	return l.change(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.PutPassword(ctx, p), tx.DeleteLogins(ctx, uid), tx.Record(ctx, passwordEvent(ctx, uid, "password.set")))
	})
}

func passwordEvent(ctx context.Context, uid, action string) store.Event {
	e := reqctx.Event(ctx, action, resultOK)
	e.ActorType, e.Target = "controlplane", uid
	return e
}
