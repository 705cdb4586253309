// SPDX-License-Identifier: Apache-2.0

package router

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// endpoint is the routes of one path.
type endpoint struct {
	name       string // path of the routes, the label in logs and metrics
	patterns   []string
	page, cors bool
	look       look
	limiter    Limiter
	log        *slog.Logger

	allow   []string
	methods map[string]Route
}

func (e *endpoint) add(r Route) error {
	if e.methods == nil {
		e.methods = make(map[string]Route)
	}
	for m := range strings.SplitSeq(r.Methods, ",") {
		m = strings.TrimSpace(m)
		served := []string{m}
		switch m {
		case http.MethodGet:
			served = append(served, http.MethodHead)
		case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		default:
			return fmt.Errorf("the route %q has the method %q", r.Path, m)
		}
		for _, one := range served {
			if _, taken := e.methods[one]; taken {
				return fmt.Errorf("the path %q has two routes for %s", r.Path, one)
			}
			e.methods[one] = r
			e.allow = append(e.allow, one)
		}
	}
	return nil
}

// ServeHTTP checks what is the same for all routes and calls the route of the method.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := w.(*answer) // of the front
	a.route = e.name
	defer e.recovered(a, r)
	if e.cors {
		// Every origin and no credentials: what a script gets here, any program gets (AS-14).
		a.Header().Set("Access-Control-Allow-Origin", "*")
		a.Header().Set("Access-Control-Expose-Headers", "WWW-Authenticate")
	}
	route, ok := e.methods[r.Method]
	switch {
	case !ok && e.cors && r.Method == http.MethodOptions:
		e.preflight(w)
		return
	case !ok:
		a.Header().Set("Allow", strings.Join(e.allow, ", "))
		e.look.refuse(a, r, e.page, wrongMethod(e.allow))
		return
	}
	// Whatever is answered, the body is read before the connection may be closed.
	defer drain(r.Body)
	if r.ContentLength > route.MaxBody {
		e.look.refuse(a, r, e.page, tooLarge())
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, route.MaxBody)
	if route.Bucket != "" && !e.allowed(a, r, route.Bucket, limit.Address(reqctx.From(r.Context()).IP)) {
		return
	}
	if route.Client != nil {
		if client := route.Client(r); client != "" && !e.allowed(a, r, route.ClientBucket, client) {
			return
		}
	}
	route.Handler.ServeHTTP(a, r)
}

// drain reads what nobody wanted of a body, as far as that is bearable: a connection that is closed with bytes unread is reset,
// and then the client may lose the answer that says what was wrong.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxDrain) }

// preflight answers the question of a browser (Fetch §4.8). A wildcard does not stand for Authorization there.
func (e *endpoint) preflight(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", strings.Join(e.allow, ", "))
	h.Set("Access-Control-Allow-Headers", "Authorization, *")
	h.Set("Access-Control-Max-Age", "7200")
	w.WriteHeader(http.StatusNoContent)
}

func (e *endpoint) allowed(a *answer, r *http.Request, bucket, key string) bool {
	retry, ok := e.limiter.Allow(r.Context(), bucket, key)
	if !ok {
		e.look.refuse(a, r, e.page, tooMany(retry))
	}
	return ok
}

// recovered answers for a handler that panicked. It is deferred itself, or it would recover nothing. The value is not logged:
// it may hold anything.
func (e *endpoint) recovered(a *answer, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it like this
		panic(p)
	}
	e.log.ErrorContext(r.Context(), "handler panicked", slog.String(obs.AttrRequestID, reqctx.From(r.Context()).ID),
		slog.String(attrRoute, e.name), slog.String(obs.AttrError, fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
	if a.status != 0 { // half an answer is out: end the connection, so that nobody takes it for a whole one
		panic(http.ErrAbortHandler)
	}
	e.look.refuse(a, r, e.page, failed())
}
