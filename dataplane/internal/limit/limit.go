// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// ReasonLimited is the reason of every refusal: Exhausted, with the time to wait.
const ReasonLimited = "RATE_LIMITED"

// Counter counts (kit/quota's Limiter).
type Counter interface {
	Allow(ctx context.Context, k quota.Key, l quota.Limit, m quota.Mode) quota.Decision
	Return(k quota.Key)
	Look(k quota.Key, l quota.Limit, m quota.Mode) quota.State
}

// Rates applies the limits of gateways. It is safe for concurrent use.
type Rates struct {
	counter Counter
	refused func(ctx context.Context, gateway, per string)
}

// New returns Rates. refused is told of each refusal: the name of the gateway, and what counted together in the word of
// manifests; it must be quick.
func New(c Counter, refused func(ctx context.Context, gateway, per string)) *Rates {
	return &Rates{counter: c, refused: refused}
}

// Request counts a request of any method. The fault is Exhausted, RATE_LIMITED.
func (r *Rates) Request(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal) error {
	if len(g.RequestLimits) == 0 {
		return nil
	}
	q := question{rates: r, snapshot: s, gateway: g, principal: p}
	for i := range g.RequestLimits {
		if err := q.ask(ctx, &g.RequestLimits[i], nil); err != nil {
			return err
		}
	}
	return nil
}

// Call counts a call of a tool. The fault is Exhausted, RATE_LIMITED.
func (r *Rates) Call(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) error {
	if len(g.CallLimits) == 0 {
		return nil
	}
	q := question{rates: r, snapshot: s, gateway: g, principal: p}
	return q.call(ctx, t)
}

// Return gives back what [Rates.Call] counted of a call that then was not made, with the same arguments.
func (r *Rates) Return(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) {
	q := question{rates: r, snapshot: s, gateway: g, principal: p, returns: true}
	_ = q.call(ctx, t) // what gives back refuses nothing
}

// call asks the limits that count calls of a tool.
func (q *question) call(ctx context.Context, t *view.Tool) error {
	g := q.gateway
	for i := range g.CallLimits {
		if l := &g.CallLimits[i]; l.Counts(t.Server, t.Upstream) {
			if err := q.ask(ctx, l, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// question is one request or call on its way through the limits.
type question struct {
	rates     *Rates
	snapshot  *view.Snapshot
	gateway   *view.Gateway
	principal ident.Principal
	room      [8]quota.Key
	taken     []quota.Key // given back when a later limit refuses: what did not happen does not count

	returns bool // what was counted is given back

	team  string // that counts; for looks
	looks bool   // nothing is counted: what is seen is kept
	seen  []call.DryLimit
}

func (q *question) ask(ctx context.Context, l *compile.RateLimit, t *view.Tool) error {
	switch l.Per {
	case compile.PerGateway:
		return q.take(ctx, l, "")
	case compile.PerCaller:
		return q.take(ctx, l, digest(q.principal.Key()))
	case compile.PerToken:
		return q.take(ctx, l, digest(token(q.principal)))
	case compile.PerServer:
		return q.take(ctx, l, digest(t.Server))
	case compile.PerTool:
		return q.take(ctx, l, digest(t.Name))
	case compile.PerTeam:
		var refused error
		q.snapshot.Teams(q.principal, func(team *view.Team) {
			if refused == nil {
				q.team = team.Name
				refused = q.take(ctx, l, digest(team.UID))
			}
		})
		return refused
	default:
		return nil // compile lets no other through
	}
}

func (q *question) take(ctx context.Context, l *compile.RateLimit, who string) error {
	key := quota.Key{Rule: l.Rule, Who: who}
	mode := quota.Open
	if l.Closed {
		mode = quota.Closed
	}
	limit := quota.Limit{Amount: l.Amount, Period: l.Period, Burst: l.Burst}
	if q.returns {
		q.rates.counter.Return(key)
		return nil
	}
	if q.looks {
		q.look(l, q.rates.counter.Look(key, limit, mode))
		return nil
	}
	d := q.rates.counter.Allow(ctx, key, limit, mode)
	if d.OK {
		if q.taken == nil {
			q.taken = q.room[:0]
		}
		q.taken = append(q.taken, key)
		return nil
	}
	for _, k := range q.taken {
		q.rates.counter.Return(k)
	}
	q.taken = nil
	q.rates.refused(ctx, q.gateway.Name, l.Per.String())
	return refusal(l, d)
}

// refusal says what is used up and when to come back; it names nobody.
func refusal(l *compile.RateLimit, d quota.Decision) error {
	// A client that comes a moment early comes in vain.
	wait := max((d.Retry + time.Second - 1).Truncate(time.Second), time.Second)
	if d.Alone && l.Closed {
		return fault.Newf(fault.Exhausted, ReasonLimited,
			"The rate limits of this gateway cannot be counted at the moment, and it lets nothing pass meanwhile. Try again in %s.", wait).After(wait)
	}
	return fault.Newf(fault.Exhausted, ReasonLimited, "The rate limit of %s is used up. Try again in %s.", whose(l.Per), wait).After(wait)
}

func whose(p compile.RatePer) string {
	switch p {
	case compile.PerCaller:
		return "this caller at this gateway"
	case compile.PerTeam:
		return "a team of this caller at this gateway"
	case compile.PerToken:
		return "this token at this gateway"
	case compile.PerServer:
		return "the server of this tool at this gateway"
	case compile.PerTool:
		return "this tool at this gateway"
	default:
		return "this gateway"
	}
}

// token names the credential of a caller: a bearer token by its uid, and all access tokens of one client of a person together,
// which changes them every few minutes.
func token(p ident.Principal) string {
	if p.ClientID == "" {
		return "t " + p.TokenID
	}
	return "c " + p.Key() + " " + p.ClientID
}

// digest is 96 bits of a SHA-256: names and uids stay out of the store, and long ones take no more room than short ones.
func digest(s string) string {
	var room [256]byte
	sum := sha256.Sum256(append(room[:0], s...))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
