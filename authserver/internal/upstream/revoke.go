// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// revokeEvery is how often grants are looked for that another authserver noted, or whose next try is due.
	revokeEvery = 15 * time.Second
	// revokePage is how many grants are taken up together.
	revokePage = 50
	// A revocation that failed is tried again after half the time since the grant was ended, within these bounds, and given up after
	// revokeLife: nobody can use the grant here, and whoever holds a copy has had a day.
	revokeRetry  = 30 * time.Second
	longestRetry = time.Hour
	revokeLife   = 24 * time.Hour

	actionRevoked = "upstream.credential.revoked"
)

// Revoke revokes the grants that [Upstream.End] noted at their authorization servers (RFC 7009), until ctx ends: the refresh
// token first, with which most servers end the whole grant, then the access token. Of several authservers one tries each grant; a
// server that is away is tried again for a day. It returns nil.
func (u *Upstream) Revoke(ctx context.Context) error {
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	for {
		if err := u.revokeDue(ctx); err != nil && ctx.Err() == nil {
			u.c.Log.WarnContext(ctx, "ended grants not looked up", obs.Fault(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-u.ended:
		case <-tick.C:
		}
	}
}

// revokeDue tries every grant that is due once. An authorization server that does not answer is asked once for all its grants.
func (u *Upstream) revokeDue(ctx context.Context) error {
	away := make(map[string]error)
	for {
		due, err := u.c.Vault.Due(ctx, endedPrefix, revokePage)
		if err != nil || len(due) == 0 {
			return err
		}
		for _, h := range due {
			wait := min(max(u.c.Now().Sub(h.Created())/2, revokeRetry), longestRetry)
			mine, err := u.c.Vault.Lease(ctx, h, u.c.Now().Add(wait))
			if err != nil {
				return err
			}
			if !mine {
				continue // another authserver has it, and the next page does not
			}
			if err := u.settle(ctx, h, away); err != nil {
				return err
			}
		}
	}
}

// settle tries one grant and forgets it, unless it is to be tried again: then its lease is the pause.
func (u *Upstream) settle(ctx context.Context, h vault.Held, away map[string]error) error {
	g, err := grantOf(h.Secret)
	if h.Unreadable || err != nil {
		return u.drop(ctx, h)
	}
	err = away[g.at()]
	if err == nil {
		err = u.revokeGrant(ctx, g)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := u.event(u.server(g), actionRevoked, "ok", "")
	if err != nil {
		e.Result, e.Reason = "refused", fault.From(err).Reason
		u.c.Log.WarnContext(ctx, "ended grant not revoked", slog.String(obs.AttrServer, g.Server), obs.Fault(err))
	}
	if again := fault.KindOf(err); (again == fault.Unavailable || again == fault.Timeout) && u.c.Now().Sub(h.Created()) < revokeLife {
		away[g.at()] = err
		return nil
	}
	u.Record(ctx, e)
	return u.drop(ctx, h)
}

// at is what is away when the authorization server of a grant is.
func (g *grant) at() string { return cmp.Or(g.Issuer, g.Token) }

func (u *Upstream) drop(ctx context.Context, h vault.Held) error {
	_, err := u.c.Vault.Delete(ctx, h.Connection())
	return err
}

// server returns the server that a grant was for as it is now, or what its grant tells of it.
func (u *Upstream) server(g *grant) *directory.Server {
	if view := u.c.View(); view != nil {
		if s := view.Server(g.Server); s != nil {
			return s
		}
	}
	return &directory.Server{Name: g.Server}
}

// revokeGrant asks the authorization server of a grant to end it. Unavailable may succeed later.
func (u *Upstream) revokeGrant(ctx context.Context, g *grant) error {
	if g.Issuer == "" {
		return refuse(ReasonNoRevocation, "The authorization server of %q was set by hand, without an issuer (oauth.issuer): where it revokes grants is not known.", g.Server)
	}
	secret, err := u.revoker(ctx, g)
	if err != nil {
		return err
	}
	f, err := u.ask().Server(ctx, g.Issuer)
	if err != nil {
		return err
	}
	if f.Revoke == "" {
		return refuse(ReasonNoRevocation, "The authorization server %s has no revocation endpoint.", g.Issuer)
	}
	q := oauthclient.Revocation{
		Endpoint: f.Revoke, Issuer: g.Issuer, Algorithms: f.Algorithms,
		Identity: oauthclient.Identity{ID: g.Client.ID, Method: g.Client.Method, Secret: secret},
	}
	if g.Refresh != "" {
		q.Hint, q.Token = oauthclient.HintRefresh, obs.Secret(g.Refresh)
		if err := u.refusedRevocation(g, u.ask().Revoke(ctx, q)); err != nil {
			return err
		}
	}
	if g.Access == "" || !g.Expires.IsZero() && !u.c.Now().Before(g.Expires) {
		return nil
	}
	q.Hint, q.Token = oauthclient.HintAccess, obs.Secret(g.Access)
	err = u.refusedRevocation(g, u.ask().Revoke(ctx, q))
	if g.Refresh != "" && fault.KindOf(err) != fault.Unavailable {
		return nil // gone with the refresh token, or of a kind that cannot be revoked (RFC 7009 §2.2.1)
	}
	return err
}

// revoker returns the secret of the client that a grant was given to.
func (u *Upstream) revoker(ctx context.Context, g *grant) (obs.Secret, error) {
	s := u.server(g)
	if g.Client.Source == clientConfigured && g.Client.Method != oauthclient.MethodNone && (s.OAuth == nil || s.OAuth.ClientID != g.Client.ID) {
		return "", refuse(ReasonClient, "The client at %s that the grant was given to is not configured any more.", g.Issuer)
	}
	return u.secretOf(ctx, s, g.Issuer, g.Client)
}

// refusedRevocation makes a fault of an error of a revocation endpoint.
func (u *Upstream) refusedRevocation(g *grant, err error) error {
	refusal, ok := errors.AsType[*oauthclient.Refusal](err)
	switch {
	case !ok:
		return err
	case refusal.Code == "invalid_client" || refusal.Code == "unauthorized_client":
		return fault.Newf(fault.Precondition, ReasonClient, "The authorization server of %q does not take Penstock's client.", g.Server).Because(refusal)
	default:
		return fault.Newf(fault.Precondition, ReasonResponse, "The %s of %q refuses the request.", oauthclient.TheRevocation, g.Server).Because(refusal)
	}
}
