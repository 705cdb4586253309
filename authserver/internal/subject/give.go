// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/unproven"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// longest is how long a node may keep an access token (D-85).
	longest = 15 * time.Minute
	// early is how long before its end a given token is not given out any more.
	early = time.Minute
	// refusedFor is how long an answer that an administrator has to mend stands before the provider is asked again.
	refusedFor = 10 * time.Second
	// mostGiven bounds what is remembered.
	mostGiven = 10_000
)

// want is what a provider's token is for: never two people, servers or ways to get it (UP-9).
type want struct {
	user, provider, server string // uids
	issuer, client         string // at which the person logged in
	made                   string // version of the way to get it
}

// gift is a token that a provider gave for a server, or why it gave none.
type gift struct {
	token obs.Secret
	asked time.Time
	until time.Time // it is given out before
	err   error
}

// Give returns the header with an access token that a user's (uid) identity provider gives her for a server (JW-13), got with the
// refresh token of her login there, and until when it may be kept. The token is a JWT of the provider whose aud has the audience
// that the server is registered with; anything else is not given out. Tokens are kept in memory, and asked for anew a minute before
// their end, or at once where the server refused the last one, then once a minute at most.
//
// The faults are those of [Keeper.Token]; a token for somebody else is UPSTREAM_RESPONSE_INVALID.
func (k *Keeper) Give(
	ctx context.Context, user string, p *directory.Provider, s *directory.Server, refused bool,
) (vault.Secret, time.Time, error) {
	if err := off(p); err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	w := want{user, p.UID, s.UID, p.Issuer, p.ClientID, s.Made}
	g, ok := k.remembered(w)
	if !ok || refused && k.c.Now().Sub(g.asked) >= forcedOnce {
		key := strings.Join([]string{"give", w.user, w.provider, w.server, w.issuer, w.client, w.made}, " ")
		v, err := k.once(ctx, key, func(ctx context.Context) (any, error) {
			if next, ok := k.remembered(w); ok && next.asked.After(g.asked) { // by one who asked a moment before
				return next, nil
			}
			return k.give(ctx, w, owner{user, p}, s.ProviderGive)
		})
		if err != nil {
			return vault.Secret{}, time.Time{}, err
		}
		g, _ = v.(gift)
	}
	if g.err != nil {
		return vault.Secret{}, time.Time{}, g.err
	}
	until := g.until
	if end := k.c.Now().Add(longest); end.Before(until) {
		until = end
	}
	return vault.Secret{Headers: map[string]obs.Secret{"Authorization": "Bearer " + g.token}}, until, nil
}

// give asks the provider. The refresh token is one process's at a time, over all authservers.
func (k *Keeper) give(ctx context.Context, w want, o owner, how *directory.ProviderGive) (gift, error) {
	g, before := gift{asked: k.c.Now()}, k.ends()
	never := func(*kept) bool { return false }
	err := k.alone(ctx, o, errand{done: never, spare: never, ask: func(ctx context.Context, o owner, h vault.Held, l *kept) (err error) {
		if l.Refresh == "" {
			return missing(o.p, directory.SubjectRefreshToken)
		}
		next := *l
		t, err := k.ask(ctx, o, h, &next, federation.Refresh{Scopes: how.Scopes, Resource: resourceOf(how)})
		if err != nil {
			return err
		}
		if next.Refresh != l.Refresh {
			there, err := k.replace(ctx, h, &next, k.event(o, actionRefreshed, resultOK, ""))
			if err != nil {
				return err
			}
			if !there {
				return fault.New(fault.Unavailable, ReasonBusy, "The person logged in anew meanwhile.").After(time.Second)
			}
		}
		g.token = t.Access
		g.until, err = k.fit(o.p, how, t)
		return err
	}})
	if err != nil {
		if f := fault.From(err); f.Kind != fault.Precondition || f.Reason != ReasonResponse {
			return g, err
		}
		g = gift{asked: g.asked, until: k.c.Now().Add(refusedFor), err: err}
	}
	if !k.remember(w, g, before) { // somebody's end came in between: what is given to somebody who is gone is given to nobody
		if _, _, err := k.read(ctx, o); err != nil {
			return gift{}, err
		}
	}
	return g, nil
}

// fit returns until when a token is given out that is for the server. Its signature is the server's to check: it came straight from
// the provider's token endpoint.
func (k *Keeper) fit(p *directory.Provider, how *directory.ProviderGive, t federation.Tokens) (time.Time, error) {
	bad := func(what string) (time.Time, error) {
		return time.Time{}, fault.Newf(fault.Precondition, ReasonResponse,
			"The identity provider %q gave a token that %s: check audience, scopes and no_resource of the server's caller_idp_token.", p.Name, what)
	}
	var c struct {
		Issuer   string         `json:"iss"`
		Audience unproven.Texts `json:"aud"`
		Expires  float64        `json:"exp"`
	}
	if !unproven.Claims(t.Access.Reveal(), &c) {
		return bad("is no JWT")
	}
	switch {
	case c.Issuer != p.Issuer:
		return bad("another issuer has made")
	case how.Audience == "" || !slices.Contains(c.Audience, how.Audience):
		return bad("is not for the audience of the server")
	}
	end := k.c.Now().Add(longest + early)
	if !t.Expires.IsZero() && t.Expires.Before(end) {
		end = t.Expires
	}
	if exp := time.Unix(int64(min(c.Expires, 1e11)), 0); c.Expires > 0 && exp.Before(end) {
		end = exp
	}
	return end.Add(-early), nil
}

// remembered returns what is remembered and still good.
func (k *Keeper) remembered(w want) (gift, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g, ok := k.given[w]
	return g, ok && k.c.Now().Before(g.until)
}

// ends returns how often something was forgotten.
func (k *Keeper) ends() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.dropped
}

// remember remembers a token, and tells whether nothing was forgotten since that had been done a number of times.
func (k *Keeper) remember(w want, g gift, before uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dropped != before {
		return false
	}
	if len(k.given) >= mostGiven {
		now := k.c.Now()
		maps.DeleteFunc(k.given, func(_ want, g gift) bool { return !now.Before(g.until) })
	}
	if len(k.given) >= mostGiven {
		clear(k.given) // asking again costs a request each
	}
	k.given[w] = g
	return true
}

// drop forgets what tokens were given.
func (k *Keeper) drop(which func(w want) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropped++
	maps.DeleteFunc(k.given, func(w want, _ gift) bool { return which(w) })
}

// resourceOf returns the resource indicator (RFC 8707 §2) of what a token is for: the audience if that is a URL, empty for none.
func resourceOf(how *directory.ProviderGive) string {
	u, err := url.Parse(how.Audience)
	if how.NoResource || err != nil || u.Host == "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return how.Audience
}
