// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// contentType is that of a pushed token (RFC 8935 §2.1).
const contentType = "application/secevent+jwt"

// ServeHTTP serves [Path] (RFC 8935): the body is a security event token. The answer is 202 without a body when everything is done that
// it asks for, be it nothing, and for one that came before; 400 with err and description for what is no event of the provider;
// 413, 415, 429 with Retry-After, and 503 while the keys, the directory or the control plane cannot be reached: the provider sends
// it again.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	ctx, address := q.Context(), limit.Address(reqctx.From(q.Context()).IP)
	for _, ask := range []func(context.Context, string, string) (time.Duration, bool){
		func(ctx context.Context, _, key string) (time.Duration, bool) {
			return r.c.Limiter.Allow(ctx, limit.Signals, key)
		},
		func(ctx context.Context, _, key string) (time.Duration, bool) {
			return r.c.Limiter.Check(ctx, limit.SignalsFailure, key)
		},
	} {
		if retry, ok := ask(ctx, "", address); !ok {
			later(w, max(retry, time.Second))
			answer(w, http.StatusTooManyRequests, invalidRequest, "Too many requests. Wait and try again.")
			return
		}
	}
	idp, err := r.provider(q.PathValue("provider"))
	if err == nil {
		err = r.pushed(w, q, idp)
	}
	var no *refusal
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case errors.As(err, &no):
		r.c.Limiter.Allow(ctx, limit.SignalsFailure, address)
		r.refused(ctx, idp, no)
		answer(w, statusOf(no), no.code, no.description)
	case errors.As(err, &tooLong):
		answer(w, http.StatusRequestEntityTooLarge, invalidRequest, "The token is longer than 64 KiB.")
	case ctx.Err() != nil: // nobody waits any more
	default:
		f := fault.From(err)
		status := http.StatusInternalServerError
		if f.Kind == fault.Unavailable || f.Kind == fault.Timeout {
			status = http.StatusServiceUnavailable
			later(w, max(f.Retry, time.Second))
		}
		r.c.Log.WarnContext(ctx, "security event not acted upon", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID), obs.Fault(err))
		answer(w, status, invalidRequest, "The event cannot be taken at the moment. Send it again.")
	}
}

const (
	reasonNoStream    = "no_stream"
	reasonContentType = "content_type"
)

// provider returns an identity provider whose events are pushed.
func (r *Receiver) provider(name string) (*directory.Provider, error) {
	view := r.c.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, directoryMissing, "The directory is not there yet.").After(time.Second)
	}
	idp := view.Provider(name)
	if idp == nil || idp.Signals == nil || idp.Signals.PollEndpoint != "" {
		return nil, refuse(invalidRequest, reasonNoStream, "There is no identity provider of that name whose events are pushed here.")
	}
	return idp, nil
}

// pushed reads and takes the token of a request.
func (r *Receiver) pushed(w http.ResponseWriter, q *http.Request, idp *directory.Provider) error {
	if kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != contentType {
		return refuse(invalidRequest, reasonContentType, "Send the token as "+contentType+".")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxToken))
	if err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			return err
		}
		return refuse(invalidRequest, "body_unreadable", "The body cannot be read.")
	}
	return r.take(q.Context(), idp, strings.TrimSpace(string(body)))
}

func statusOf(no *refusal) int {
	if no.reason == reasonContentType {
		return http.StatusUnsupportedMediaType
	}
	return http.StatusBadRequest
}

// refused notes what was no event of a provider.
func (r *Receiver) refused(ctx context.Context, idp *directory.Provider, no *refusal) {
	r.count(ctx, eventOther, outcomeRefused)
	if idp == nil {
		return // anybody's nonsense
	}
	e := reqctx.Event(ctx, "ssf.refused", "refused")
	e.ActorType, e.Actor, e.Reason = "identity_provider", idp.Name, no.reason
	err := r.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil && ctx.Err() == nil {
		r.c.Log.ErrorContext(ctx, "refused security event not recorded", obs.Fault(err))
	}
}

func later(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((d+time.Second-1)/time.Second)))
}

// answer writes an error (RFC 8935 §2.3).
func answer(w http.ResponseWriter, status int, c code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Language", "en")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure{c, description}) // the provider has gone: nobody is left to tell
}

// failure is an error as the provider gets it.
type failure struct {
	Code        code   `json:"err"`
	Description string `json:"description"`
}
