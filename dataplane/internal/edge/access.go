// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"cmp"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/gate"
	"github.com/penstockhq/penstock/dataplane/internal/edge/problem"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons that stand in the body of an answer given before the request's own body is read.
const (
	ReasonNoView    = "VIEW_NOT_LOADED"
	ReasonDraining  = "NODE_DRAINING"
	ReasonStale     = "CONFIG_STALE" // D-63
	ReasonNoGateway = "GATEWAY_NOT_FOUND"
)

// Reasons of authn that are answered each in a way of its own.
const (
	reasonTokenMissing = "TOKEN_MISSING"
	reasonNotReady     = "GATEWAY_NOT_READY"
)

// retryLater is what clients are asked to wait when the node cannot say how long it will take.
const retryLater = 5 * time.Second

// allowedMethods is what 405 and a preflight say.
const allowedMethods = "GET, POST, DELETE, OPTIONS"

// preflight answers OPTIONS.
func (x *request) preflight() {
	x.w.Header().Set("Allow", allowedMethods)
	gate.Preflight(x.w, x.r, allowedMethods)
	x.empty(http.StatusNoContent)
}

// findGateway finds the gateway by name or uid and whether this node may serve it now; if not, it answers.
func (x *request) findGateway(name string) bool {
	h := x.h
	if x.snapshot = h.view.Load(); x.snapshot == nil {
		x.unavailable("This node has no configuration yet.", ReasonNoView)
		return false
	}
	if h.isDraining() {
		x.unavailable("This node is shutting down.", ReasonDraining)
		return false
	}
	if x.gateway = x.snapshot.Gateway(name); x.gateway == nil {
		x.problem(http.StatusNotFound, "not_found", "There is no gateway at this address.", ReasonNoGateway)
		return false
	}
	if h.stale(x.gateway) {
		x.unavailable("This node's configuration is too old for this gateway.", ReasonStale)
		return false
	}
	return true
}

func (h *Handler) stale(g *view.Gateway) bool {
	return g.MaxStale > 0 && h.health.StaleFor() > g.MaxStale
}

// authenticate finds out who sends the request and whether they may use the gateway; if not, it answers by auth.md §9.
func (x *request) authenticate() bool {
	x.asked = time.Now()
	p, err := x.h.authn.Authenticate(x.snapshot, x.gateway, x.r)
	x.known = time.Now()
	if err == nil {
		x.principal = p
		return true
	}
	f := fault.From(err)
	switch f.Kind {
	case fault.Unauthenticated:
		x.unauthorized(f)
	case fault.Invalid:
		x.challenge("invalid_request", f.Public)
		x.problem(http.StatusBadRequest, "invalid_request", f.Public, "")
	case fault.Denied:
		x.challenge("", "") // RS-6: no error, which clients would take for a reason to log in again
		x.problem(http.StatusForbidden, "gateway_access_denied", f.Public, "")
	case fault.Exhausted:
		x.retryAfter(f.Retry)
		x.problem(http.StatusTooManyRequests, "too_many_requests", f.Public, f.Reason)
	case fault.Unavailable, fault.Timeout:
		x.retryAfter(cmp.Or(f.Retry, retryLater))
		x.problem(http.StatusServiceUnavailable, "temporarily_unavailable", f.Public, f.Reason)
	default:
		x.h.log.ErrorContext(x.r.Context(), "authentication broke", obs.Fault(err))
		x.problem(http.StatusInternalServerError, "server_error", "An internal error occurred.", "")
	}
	return false
}

// unauthorized answers RS-3 and RS-4. The gateways of this build have no protected-resource metadata, so the challenge
// carries neither resource_metadata nor scope (RS-1).
func (x *request) unauthorized(f *fault.Fault) {
	code, text := "invalid_token", f.Public
	missing := f.Reason == reasonTokenMissing
	if missing {
		code, text = "unauthorized", "Authentication required"
	}
	if f.Reason == reasonNotReady {
		// No way to authenticate at all: a challenge would send the client looking for one (G-3).
		x.challenge("", "")
		x.problem(http.StatusUnauthorized, "unauthorized", text, "gateway_not_ready")
		return
	}
	if missing && !x.h.compat {
		x.challenge("", "")
	} else {
		x.challenge("invalid_token", text)
	}
	x.problem(http.StatusUnauthorized, code, text, "")
}

// challenge sets WWW-Authenticate; without an error it is the bare scheme.
func (x *request) challenge(code, description string) {
	x.w.Header().Set("WWW-Authenticate", problem.Challenge(code, description))
}

func (x *request) unavailable(description, reason string) {
	x.retryAfter(retryLater)
	x.problem(http.StatusServiceUnavailable, "temporarily_unavailable", description, reason)
}

func (x *request) retryAfter(d time.Duration) {
	x.w.Header().Set("Retry-After", problem.Seconds(d))
}

// problem answers, before the body is read, with the JSON that OAuth endpoints use too.
func (x *request) problem(status int, code, description, reason string) {
	x.status = status
	x.out = problem.Append(x.out[:0], code, description, reason)
	x.h.answers.JSON(x.w, status, answer.Body{x.out})
}

// empty answers without a body.
func (x *request) empty(status int) {
	x.status = status
	x.h.answers.Empty(x.w, status)
}

// wellKnown is the path of protected-resource metadata (RFC 9728 §3.1).
const wellKnown = "/.well-known/oauth-protected-resource"

// elsewhere answers every path that is no gateway's. Clients guess OAuth endpoints on this host (AS-19); browsers read
// the answer, hence CORS.
func (x *request) elsewhere() {
	text := "There is nothing at this address."
	if x.r.URL.Path == wellKnown || x.r.URL.Path == wellKnown+"/" {
		text = "Metadata is per gateway, at " + wellKnown + mcpPath + "<gateway>."
	}
	x.w.Header().Set("Access-Control-Allow-Origin", "*")
	x.problem(http.StatusNotFound, "not_found", text, "")
}
