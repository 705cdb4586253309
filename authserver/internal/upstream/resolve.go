// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// longest is how long a node may keep an access token (D-85).
	longest = 15 * time.Minute
	// margin is how long before its end a token is not given out any more, and twice it when it is renewed. A token of less than
	// ten minutes has a tenth of its life.
	margin = time.Minute

	// forcedOnce is how long after a renewal nobody can force another one: all whom the old token was refused get the new one.
	forcedOnce = time.Minute

	renewTimeout = 20 * time.Second // of everything
	leaseTime    = 30 * time.Second // longer than that, so that a lease never ends before who has it
	leasePoll    = 100 * time.Millisecond
	keepTries    = 5 // at storing what a renewal gave: the old refresh token may be worth nothing by then

	actionRefreshed = "upstream.credential.refreshed"
	actionFailed    = "upstream.credential.failed"
)

// Resolve returns the credential of a connection, and until when it may be kept; zero leaves that to the caller. A grant gives
// a header with an access token, renewed before its end, or at once where the server refused the last one: by one request for
// all who ask, on however many authservers (UP-5). Everything else is given out as it was put.
//
// The faults are those of [vault.Vault.Resolve], Precondition CREDENTIAL_DEAD (the person connects anew), Precondition
// UPSTREAM_CLIENT_REFUSED and UPSTREAM_RESPONSE_INVALID (an administrator mends it), and Unavailable.
func (u *Upstream) Resolve(ctx context.Context, connection, version string, refused bool) (vault.Secret, time.Time, error) {
	h, err := u.c.Vault.Hold(ctx, connection, version)
	if err != nil || h.Secret.Grant == "" {
		return h.Secret, time.Time{}, err
	}
	g, err := grantOf(h.Secret)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	s, err := u.serverOf(connection, g)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	if g.Dead || u.due(g, refused) {
		if g, err = u.renew(ctx, s, connection, version, g, refused); err != nil {
			return vault.Secret{}, time.Time{}, err
		}
	}
	secret, until := u.bearer(g)
	return secret, until, nil
}

// serverOf returns the server that a grant is for, if the grant still fits it (UP-3).
func (u *Upstream) serverOf(connection string, g *grant) (*directory.Server, error) {
	view := u.c.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(time.Second)
	}
	c := view.Connection(connection)
	if c == nil {
		return nil, dead("The connection is gone.")
	}
	s := view.Server(c.Server)
	switch {
	case s == nil || s.OAuth == nil:
		return nil, dead("The server takes no such grants any more.")
	case oauthclient.Origin(s.URL) != g.Origin:
		return nil, dead("The server is at another host than the one that the grant was given for.")
	case s.OAuth.ClientID != "" && (g.Client.Source != clientConfigured || g.Client.ID != s.OAuth.ClientID),
		s.OAuth.ClientID == "" && g.Client.Source == clientConfigured:
		return nil, dead("The grant was given to another client of Penstock's.")
	case s.OAuth.Issuer != "" && s.OAuth.Issuer != g.Issuer:
		return nil, dead("The grant was given at another authorization server.")
	case s.OAuth.TokenEndpoint != "" && s.OAuth.TokenEndpoint != g.Token:
		return nil, dead("The grant was given at another token endpoint.")
	}
	return s, nil
}

func dead(text string) *fault.Fault {
	return fault.New(fault.Precondition, ReasonDead, text+" Connect the server anew.")
}

// due reports whether a token is to be renewed now.
func (u *Upstream) due(g *grant, refused bool) bool {
	now := u.c.Now()
	if refused && now.Sub(g.Refreshed) >= forcedOnce {
		return true
	}
	return !g.Expires.IsZero() && !now.Before(g.Expires.Add(-2*g.margin()))
}

func (g *grant) margin() time.Duration {
	began := g.Obtained
	if !g.Refreshed.IsZero() {
		began = g.Refreshed
	}
	return min(margin, g.Expires.Sub(began)/10)
}

// good reports whether a token can still be given out.
func (u *Upstream) good(g *grant, refused bool) bool {
	return !refused && g.Access != "" && (g.Expires.IsZero() || u.c.Now().Before(g.Expires))
}

// bearer is the header with the access token.
func (u *Upstream) bearer(g *grant) (vault.Secret, time.Time) {
	until := u.c.Now().Add(longest)
	if !g.Expires.IsZero() {
		if end := g.Expires.Add(-g.margin()); end.Before(until) {
			until = end
		}
	}
	return vault.Secret{Headers: map[string]obs.Secret{"Authorization": obs.Secret("Bearer " + g.Access)}}, until
}

// renew renews a grant once for all who ask in this process, and goes on if one of them goes away.
func (u *Upstream) renew(ctx context.Context, s *directory.Server, connection, version string, old *grant, refused bool) (*grant, error) {
	done := u.renewed.DoChan(connection+" "+version, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		return u.renewOver(ctx, s, connection, version, old, refused)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		g, _ := r.Val.(*grant)
		return g, r.Err
	}
}

// renewOver renews a grant once over all authservers: one has the lease, the others wait for what it stores.
func (u *Upstream) renewOver(ctx context.Context, s *directory.Server, connection, version string, old *grant, refused bool) (*grant, error) {
	poll := time.NewTicker(leasePoll)
	defer poll.Stop()
	for {
		h, g, err := u.read(ctx, connection, version)
		switch {
		case err != nil:
			return nil, err
		case g.Access != old.Access || g.Refreshed.After(old.Refreshed):
			return g, nil // somebody else was first
		case g.Refresh == "":
			if u.good(g, refused) {
				return g, nil
			}
			return nil, dead("The access token is over, and the authorization server gave none to renew it.")
		}
		mine, err := u.c.Vault.Lease(ctx, h, u.c.Now().Add(leaseTime))
		switch {
		case err != nil:
			return nil, err
		case mine:
			return u.renewAlone(ctx, s, h, g, refused)
		case u.good(g, refused):
			return g, nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, fault.New(fault.Unavailable, ReasonBusy, "The grant is being renewed by another authserver.").Because(ctx.Err()).After(time.Second)
		}
	}
}

// read returns a grant that is not dead, with the form it was read in.
func (u *Upstream) read(ctx context.Context, connection, version string) (vault.Held, *grant, error) {
	h, err := u.c.Vault.Hold(ctx, connection, version)
	if err != nil {
		return h, nil, err
	}
	g, err := grantOf(h.Secret)
	if err == nil && g.Dead {
		err = dead("The authorization server has ended the grant.")
	}
	return h, g, err
}

// renewAlone renews a grant under a lease. The grant is read again: who had the lease before may have renewed it between the
// reading and the lease, and a refresh token that is used twice ends the whole grant at many servers.
func (u *Upstream) renewAlone(ctx context.Context, s *directory.Server, h vault.Held, g *grant, refused bool) (*grant, error) {
	// A time of its own: a request that is cut off because the wait for the lease took long may have used the refresh token up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	defer func() {
		if err := u.c.Vault.EndLease(context.WithoutCancel(ctx), h); err != nil {
			u.c.Log.WarnContext(ctx, "lease of a grant not ended", obs.Fault(err)) // it ends by itself
		}
	}()
	now, again, err := u.read(ctx, h.Connection(), h.Version())
	if err != nil || again.Access != g.Access || again.Refreshed.After(g.Refreshed) {
		return again, err
	}
	return u.renewNow(ctx, s, now, again, refused)
}

// renewNow asks the authorization server, and stores what it gives before anybody uses it: a refresh token that was replaced is
// worth nothing.
func (u *Upstream) renewNow(ctx context.Context, s *directory.Server, h vault.Held, g *grant, refused bool) (*grant, error) {
	next := *g
	err := u.request(ctx, s, &next, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.Refresh}})
	if err != nil && fault.From(err).Reason == ReasonClient && g.Client.Source != clientConfigured {
		// No administrator can mend a client that made itself, and the refresh token is bound to it. A new grant makes a new one.
		err = dead("The authorization server does not know the client any more that the grant was given to.").Because(err)
	}
	switch {
	case err == nil:
		next.Refreshed = u.c.Now().UTC()
		return &next, u.keep(ctx, h, &next, u.event(s, actionRefreshed, "ok", ""))
	case fault.From(err).Reason == ReasonDead:
		next.Dead, next.Access, next.Refresh = true, "", ""
		if kept := u.keep(ctx, h, &next, u.event(s, actionFailed, "refused", ReasonDead)); kept != nil {
			return nil, kept
		}
		return nil, err
	}
	u.c.Log.WarnContext(ctx, "upstream grant not renewed", slog.String(obs.AttrServer, s.Name), obs.Fault(err))
	if fault.KindOf(err) != fault.Unavailable { // somebody has to mend it
		u.Record(ctx, u.event(s, actionFailed, "refused", fault.From(err).Reason))
	}
	if u.good(g, refused) {
		return g, nil // what there is stays until its end
	}
	return nil, err
}

// keep stores a renewed grant together with its event.
func (u *Upstream) keep(ctx context.Context, h vault.Held, g *grant, e store.Event) error {
	secret, err := g.secret()
	if err != nil {
		return err
	}
	there := false
	pause := time.NewTicker(2 * leasePoll)
	defer pause.Stop()
	for try := 1; ; try++ {
		err = u.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
			if there, err = u.c.Vault.Replace(ctx, h, secret); err != nil || !there {
				return err
			}
			return tx.Record(ctx, e)
		})
		if err == nil || try == keepTries || ctx.Err() != nil {
			break
		}
		<-pause.C
	}
	switch {
	case err != nil && fault.From(err).Reason == vault.ReasonMissing:
		// It was ended while it was being renewed: what came of that is somebody's grant that nobody would ever end.
		return errors.Join(err, u.note(ctx, h.Connection(), h.Version(), g))
	case err == nil && !there:
		return dead("The grant was replaced meanwhile.")
	}
	return err
}

func (u *Upstream) event(s *directory.Server, action, result, reason string) store.Event {
	return store.Event{Time: u.c.Now(), ActorType: "system", Action: action, Target: s.Name, Result: result, Reason: reason}
}

// Record stores an audit event of a failure; what failed does not depend on it.
func (u *Upstream) Record(ctx context.Context, e store.Event) {
	err := u.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		u.c.Log.ErrorContext(ctx, "upstream failure not recorded", obs.Fault(err))
	}
}
