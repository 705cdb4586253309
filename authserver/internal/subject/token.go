// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Token is a token of somebody's login.
type Token struct {
	Value   obs.Secret
	Expires time.Time // zero: not known
}

// StepUp is what a provider wants of a person before it gives anything more: parameters of her next login, empty where it did not
// say. With none of them it just asks her anew who she is.
type StepUp struct {
	Claims    string        `json:"claims,omitempty"`
	ACRValues string        `json:"acr_values,omitempty"`
	MaxAge    time.Duration `json:"max_age,omitempty"` // in whole seconds; 0: it did not say
}

// Token returns a token of a kind of a user's (uid) login that is good now. Access and ID tokens near their end are renewed with
// the refresh token (RFC 6749 §6): once for all who ask, on however many authservers, and a new refresh token is stored before
// anybody uses what came with it (UP-5).
//
// The faults are Precondition CREDENTIAL_MISSING (nothing is kept, or not of the kind) and CREDENTIAL_DEAD, where the person logs in
// with the provider; Precondition UPSTREAM_TOKENS_NOT_KEPT, UPSTREAM_CLIENT_REFUSED and UPSTREAM_RESPONSE_INVALID, where an
// administrator mends it; and Unavailable.
func (k *Keeper) Token(ctx context.Context, user string, p *directory.Provider, kind directory.Subject) (Token, error) {
	o := owner{user, p}
	_, l, err := k.read(ctx, o)
	if err != nil {
		return Token{}, err
	}
	if !l.isGood(kind, k.c.Now()) && l.isRenewable(kind) {
		if err := k.renew(ctx, o, kind); err != nil {
			return Token{}, err
		}
		if _, l, err = k.read(ctx, o); err != nil {
			return Token{}, err
		}
	}
	switch {
	case l.isUsable(kind, k.c.Now()):
		return Token{Value: obs.Secret(l.value(kind)), Expires: l.expires(kind)}, nil
	case l.value(kind) == "" && (kind != directory.SubjectIDToken || !l.IDOnce):
		return Token{}, missing(p, kind)
	default:
		return Token{}, dead(p, "The token of the login with %s is over.")
	}
}

// Refused says that a token was refused as a subject. The next [Keeper.Token] renews it; if that was just done, or cannot be done,
// the login is dead. A token that is not the kept one any more is nothing to say.
func (k *Keeper) Refused(ctx context.Context, user string, p *directory.Provider, kind directory.Subject, value obs.Secret) error {
	o := owner{user, p}
	return k.change(ctx, o, func(l *kept) (store.Event, bool) {
		same := subtle.ConstantTimeCompare([]byte(l.value(kind)), []byte(value.Reveal())) == 1
		switch {
		case l.Dead || !same || l.Due == kind:
			return store.Event{}, false
		case !l.isRenewable(kind) || k.c.Now().Sub(l.Refreshed) < forcedOnce:
			l.end()
			return k.event(o, actionFailed, resultRefused, ReasonDead), true
		}
		l.Due = kind
		return k.event(o, actionFailed, resultRefused, "SUBJECT_REFUSED"), true
	})
}

// StepUp says that the provider wants a person to prove more (JAU-6, UP-7): until her next login [Keeper.Token] answers
// CREDENTIAL_DEAD without asking the provider, and that login is sent with what is wanted. Where nothing is kept there is nothing
// to say: the person logs in anyway.
func (k *Keeper) StepUp(ctx context.Context, user string, p *directory.Provider, want StepUp) error {
	o := owner{user, p}
	return k.change(ctx, o, func(l *kept) (store.Event, bool) {
		if l.Dead || l.Wanted != nil && *l.Wanted == want {
			return store.Event{}, false
		}
		l.Wanted = &want
		return k.event(o, actionFailed, resultRefused, "STEP_UP"), true
	})
}

// change changes what is kept, if it is there and fn says so. It is tried again with what came in between.
func (k *Keeper) change(ctx context.Context, o owner, fn func(l *kept) (store.Event, bool)) error {
	for range keepTries {
		h, l, err := k.load(ctx, o.key())
		switch {
		case err != nil && fault.KindOf(err) == fault.Precondition: // nothing is kept, or nothing that can be read
			return nil
		case err != nil:
			return err
		}
		e, changed := fn(l)
		if !changed {
			return nil
		}
		done, err := k.replace(ctx, h, l, e)
		if err != nil {
			return fmt.Errorf("note what became of a token: %w", err)
		}
		if done {
			return nil
		}
	}
	return fault.New(fault.Unavailable, ReasonBusy, "The tokens of the login change all the time.")
}
