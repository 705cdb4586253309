// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// given is an access token for a server.
type given struct {
	token   obs.Secret
	expires time.Time // zero: not said
}

// until returns when a token is not given out any more. One that is nearly over serves those who wait for it.
func (g given) until(now time.Time) time.Time {
	if g.expires.IsZero() {
		return now.Add(unknownLife)
	}
	if end := g.expires.Add(-early); end.After(now) {
		return end
	}
	return now
}

// refusedSubject says that a caller's token was refused, not Penstock.
type refusedSubject struct {
	refusal   *oauthclient.Refusal
	stepUp    bool         // a stronger login is wanted
	redeeming bool         // the server's authorization server refused the identity assertion that was made of the token
	other     *fault.Fault // what it may be too, if it is not the token: an administrator mends that; nil: nothing
}

// Error says the code and nothing else.
func (r *refusedSubject) Error() string { return "the caller's token is refused: " + r.refusal.Error() }

// obtain gets an access token for the caller: with the presented token, if there is one, else with what the login left.
func (x *Exchanger) obtain(ctx context.Context, j *job) (given, error) {
	if j.presented.Value == "" || x.memory.isSpent(j.key.presented) || !x.c.Now().Before(j.presented.Expires) {
		return x.obtainKept(ctx, j)
	}
	g, err := x.exchange(ctx, j, j.presented)
	refused, ok := errors.AsType[*refusedSubject](err)
	switch {
	case !ok:
		return g, err
	case refused.other != nil: // a node has just checked the token: it is something else
		return given{}, refused.other
	}
	// The next token of the caller's client may be a better one. This one is not tried again.
	x.memory.spend(j.key.presented, j.presented.Expires)
	if j.provider.Kept == nil {
		return given{}, dead("The identity provider does not take the token any more that the caller presented: log in there anew.").Because(err)
	}
	g, err = x.obtainKept(ctx, j)
	if err != nil && refused.stepUp && fault.From(err).Reason == reasonMissing {
		return given{}, x.demand(ctx, j, refused)
	}
	return g, err
}

// obtainKept gets an access token with what the caller's login left. A token that the identity provider refuses is renewed once, and
// an identity assertion that is refused is replaced once (JAU-5, UP-7); then the person has to log in.
func (x *Exchanger) obtainKept(ctx context.Context, j *job) (given, error) {
	kind := j.how.Subject
	for renewed, repeated := false, false; ; {
		subject, err := x.c.Subjects.Token(ctx, j.user, j.provider, kind)
		if err != nil {
			return given{}, err
		}
		g, err := x.exchange(ctx, j, subject)
		refused, ok := errors.AsType[*refusedSubject](err)
		switch {
		case !ok:
			return g, err
		case refused.stepUp:
			return given{}, x.demand(ctx, j, refused)
		case refused.redeeming && !repeated:
			repeated = true
			continue
		case refused.other != nil && (renewed || !x.memory.doubt(j.key)):
			return given{}, refused.other
		}
		if err := x.c.Subjects.Refused(ctx, j.user, j.provider, kind, subject.Value); err != nil {
			return given{}, err
		}
		if renewed || refused.redeeming {
			return given{}, dead("Your login with the identity provider is not accepted any more: log in there anew.").Because(err)
		}
		renewed = true
	}
}

// demand has the next login prove more (JAU-6, UP-7).
func (x *Exchanger) demand(ctx context.Context, j *job, refused *refusedSubject) error {
	r := refused.refusal
	err := x.c.Subjects.StepUp(ctx, j.user, j.provider, StepUp{Claims: r.Claims, ACRValues: r.ACRValues, MaxAge: r.MaxAge})
	if err != nil {
		return err
	}
	return dead("The identity provider wants a stronger login for this server: log in there anew.").Because(refused)
}

// exchange exchanges one token in the server's way. The errors are a [refusedSubject], and faults.
func (x *Exchanger) exchange(ctx context.Context, j *job, subject Token) (given, error) {
	switch j.how.Grant {
	case directory.GrantOnBehalfOf:
		return x.onBehalfOf(ctx, j, subject)
	case directory.GrantIDJAG:
		return x.assert(ctx, j, subject)
	default:
		return x.tokenExchange(ctx, j, subject)
	}
}

// fresh checks that a token is not the one that was exchanged for it, which is never given to a server (JW-13).
func fresh(token, subject obs.Secret) error {
	if subtle.ConstantTimeCompare([]byte(token.Reveal()), []byte(subject.Reveal())) == 1 {
		return refuse(oauthclient.ReasonResponse, "The %s gives back the token that it was given.", oauthclient.TheToken)
	}
	return nil
}

// earlier returns the earlier of two ends, either of which may not be known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
