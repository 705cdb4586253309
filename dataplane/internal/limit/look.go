// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// Look returns the limits that a call of a tool counts against, or without a tool those that a request counts against, in their order,
// and what would come of them now. Nothing is counted, and no store is asked: where other nodes count along, what is left may not be
// known.
func (r *Rates) Look(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) []call.DryLimit {
	q := question{rates: r, snapshot: s, gateway: g, principal: p, looks: true}
	list := g.RequestLimits
	if t != nil {
		list = g.CallLimits
	}
	for i := range list {
		l := &list[i]
		if t != nil && !l.Counts(t.Server, t.Upstream) {
			continue
		}
		_ = q.ask(ctx, l, t) // a look refuses nothing
	}
	return q.seen
}

func (q *question) look(l *compile.RateLimit, s quota.State) {
	seen := call.DryLimit{RateLimit: l, Left: s.Left, Known: s.Known}
	if l.Per == compile.PerTeam {
		seen.Team = q.team
	}
	if s.Known && s.Left == 0 {
		seen.Err = refusal(l, quota.Decision{Retry: s.Retry, Alone: s.Alone})
	}
	q.seen = append(q.seen, seen)
}
