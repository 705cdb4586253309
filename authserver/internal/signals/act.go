// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	eventPrefix = "https://schemas.openid.net/secevent/"

	sessionRevoked   = eventPrefix + "caep/event-type/session-revoked"
	credentialChange = eventPrefix + "caep/event-type/credential-change"
	accountDisabled  = eventPrefix + "risc/event-type/account-disabled"
	accountPurged    = eventPrefix + "risc/event-type/account-purged"
	accountEnabled   = eventPrefix + "risc/event-type/account-enabled"
	verification     = eventPrefix + "ssf/event-type/verification"
	streamUpdated    = eventPrefix + "ssf/event-type/stream-updated"
)

const (
	// acted is the namespace of the identifiers of tokens that were acted upon, before the name of their provider.
	acted = "penstock:security-events:"
	// actTimeout bounds what an event asks for: a provider may hang up meanwhile.
	actTimeout = 20 * time.Second
	// tries is how often a change of the directory is made anew that met another one.
	tries = 4

	outcomeDone      = "done"
	outcomeNobody    = "nobody"  // about somebody unknown
	outcomeIgnored   = "ignored" // nothing is to be done
	outcomeUnknown   = "unknown" // an event of another kind
	outcomeRepeated  = "repeated"
	outcomeRefused   = "refused"
	eventOther       = "other" // the name of all events of other kinds, for the counter
	directoryMissing = "DIRECTORY_UNAVAILABLE"
)

// take verifies a token and does what it asks for, once: of a token that came before nothing is done, and it is no error. A token is
// remembered when everything is done, so that what failed is done when it comes again. The errors are [*refusal], and faults, of
// which Unavailable may succeed later.
func (r *Receiver) take(ctx context.Context, idp *directory.Provider, raw string) (err error) {
	t, err := r.verify(ctx, idp, raw)
	if err != nil {
		return err
	}
	known, err := r.c.Store.JTIUsed(ctx, acted+idp.Name, t.jti)
	if err != nil {
		return err
	}
	if known {
		r.count(ctx, eventOther, outcomeRepeated)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), actTimeout)
	defer cancel()
	var done []store.Event
	for _, e := range t.events {
		record, err := r.act(ctx, idp, t, e)
		if err != nil {
			return err
		}
		done = append(done, record...)
	}
	return r.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, acted+idp.Name, t.jti, t.end)
		if err != nil || !fresh {
			return err // another authserver had it at the same time
		}
		for _, e := range done {
			if err := tx.Record(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// act does what one event asks for, and returns what is to be recorded.
func (r *Receiver) act(ctx context.Context, idp *directory.Provider, t *token, e event) ([]store.Event, error) {
	view := r.c.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, directoryMissing, "The directory is not there yet.").After(time.Second)
	}
	who := t.subject.whom(view, idp)
	if who == (about{}) {
		who = e.subject.whom(view, idp)
	}
	outcome, err := outcomeNobody, error(nil)
	switch name := nameOf(e.kind); e.kind {
	case sessionRevoked, credentialChange:
		switch {
		case who.user != "":
			outcome, err = outcomeDone, r.c.Sessions.LogOut(ctx, who.user, idp.Name, name+":"+t.jti, t.end)
		case who.session != "" && e.kind == sessionRevoked:
			outcome, err = outcomeDone, r.c.Sessions.LogOutSession(ctx, idp.Name, who.session, name+":"+t.jti, t.end)
		}
	case accountDisabled, accountPurged:
		if who.user != "" {
			outcome, err = r.deactivate(ctx, idp, who.user, name+":"+t.jti, t.end)
		}
	case accountEnabled: // who lets people in again is SCIM, or an administrator
		outcome = outcomeIgnored
	case verification:
		outcome = outcomeIgnored
	case streamUpdated:
		outcome = outcomeIgnored
		r.c.Log.WarnContext(ctx, "the stream of security events was changed", attrProvider, idp.Name, obs.AttrStatus, short(e.status))
	default:
		outcome = outcomeUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("act on the event %s of %s: %w", nameOf(e.kind), idp.Name, err)
	}
	r.count(ctx, nameOf(e.kind), outcome)
	if outcome == outcomeUnknown {
		return nil, nil
	}
	out := reqctx.Event(ctx, "ssf."+nameOf(e.kind), "ok")
	out.ActorType, out.Actor, out.Target, out.Token = "identity_provider", idp.Name, who.user, store.Digest(t.jti)
	if outcome != outcomeDone {
		out.Reason = outcome
	}
	return []store.Event{out}, nil
}

// deactivate deactivates a user as SCIM does, if the provider made or linked it; of another one's user the logins with this provider
// end.
func (r *Receiver) deactivate(ctx context.Context, idp *directory.Provider, user, jti string, end time.Time) (outcome string, err error) {
	for n := 1; ; n++ {
		page, _, err := r.c.Directory.ListUsers(ctx, idp.Name, directory.Wanted{UID: user, Count: 1})
		if err != nil {
			return "", err
		}
		if len(page) == 0 {
			return outcomeDone, r.c.Sessions.LogOut(ctx, user, idp.Name, jti, end)
		}
		u := page[0]
		u.Active, u.Signal = false, true
		_, revision, err := r.c.Directory.PutUser(ctx, idp.Name, u)
		if n < tries && fault.KindOf(err) == fault.Conflict {
			continue
		}
		if err != nil {
			return "", err
		}
		if revision > 0 {
			if err := r.c.Await(ctx, revision); err != nil {
				r.c.Log.WarnContext(ctx, "deactivation not awaited", obs.Fault(err))
			}
		}
		return outcomeDone, r.c.Sessions.RevokeUser(ctx, user)
	}
}

// nameOf is what the audit and the counter call an event: the last part of the URI of one that is known, with underscores.
func nameOf(kind string) string {
	switch kind {
	case sessionRevoked, credentialChange, accountDisabled, accountPurged, accountEnabled, verification, streamUpdated:
		return strings.ReplaceAll(kind[strings.LastIndexByte(kind, '/')+1:], "-", "_")
	default:
		return eventOther
	}
}

// short is a status as it may be logged.
func short(status string) string {
	switch status {
	case "enabled", "paused", "disabled":
		return status
	default:
		return "unknown"
	}
}
