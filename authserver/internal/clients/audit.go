// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// fetched records that a document was fetched (AU-3).
func (s *Clients) fetched(ctx context.Context, id string, err error) {
	if err == nil {
		e := reqctx.Event(ctx, "cimd.fetched", "ok")
		e.ActorType, e.Actor, e.Client, e.Target = "client", id, id, id
		s.record(ctx, e)
		return
	}
	s.config.Logger.InfoContext(ctx, "client metadata document refused", slog.String(obs.AttrPath, id), obs.Fault(err))
	s.record(ctx, refusal(ctx, id, ReasonDocument))
}

// keysFetched records that a key set was fetched.
func (s *Clients) keysFetched(ctx context.Context, url string, err error) {
	e := reqctx.Event(ctx, "jwks.refreshed", "ok")
	e.Target = url
	if err != nil {
		s.config.Logger.InfoContext(ctx, "key set of a client refused", slog.String(obs.AttrPath, url), obs.Fault(err))
		e.Action, e.Result, e.Reason = "jwks.failed", "refused", "CLIENT_KEYS"
	}
	s.record(ctx, e)
}

func refusal(ctx context.Context, id, reason string) store.Event {
	e := reqctx.Event(ctx, "cimd.refused", "refused")
	e.ActorType, e.Actor, e.Client, e.Target, e.Reason = "client", id, id, id, reason
	return e
}

// record stores an event of something that changes nothing. If it cannot, the request goes on: what needs the store will
// say so.
func (s *Clients) record(ctx context.Context, e store.Event) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := s.config.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		s.config.Logger.ErrorContext(ctx, "audit event not recorded", slog.String(obs.AttrReason, e.Action), obs.Fault(err))
	}
}
