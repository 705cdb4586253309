// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/gate"
	"github.com/penstockhq/penstock/dataplane/internal/edge/metadata"
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
	ReasonSkew      = "CLOCK_SKEW" // RS-14
)

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
	if h.isDraining() && x.carried == nil {
		// Served all the same: a client that sends on an open connection knows no better. The next request goes elsewhere.
		x.w.Header().Set("Connection", "close")
	}
	if f := h.skewed(); f != nil {
		x.unavailable(f.Public, f.Reason)
		return false
	}
	if x.gateway = x.snapshot.Gateway(name); x.gateway == nil {
		x.problem(http.StatusNotFound, "not_found", "There is no gateway at this address.", ReasonNoGateway)
		return false
	}
	if f := h.outdated(x.gateway); f != nil {
		x.unavailable(f.Public, f.Reason)
		return false
	}
	return true
}

// skewed is why the node may serve no gateway, nil if it may.
func (h *Handler) skewed() *fault.Fault {
	if !h.health.Skewed() {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonSkew, "The clock of this node is wrong.")
}

// outdated is why the node may not serve a gateway now, nil if it may.
func (h *Handler) outdated(g *view.Gateway) *fault.Fault {
	if !h.stale(g) {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonStale, "This node's configuration is too old for this gateway.")
}

func (h *Handler) stale(g *view.Gateway) bool {
	return g.MaxStale > 0 && h.health.StaleFor() > g.MaxStale
}

// authenticate finds out who sends the request and whether they may use the gateway; if not, it answers by auth.md §9.
func (x *request) authenticate() bool {
	x.asked = time.Now()
	p, err := x.identify(x.snapshot, x.gateway)
	x.known = time.Now()
	if err == nil {
		x.principal = p
		return true
	}
	no, known := problem.Refused(fault.From(err), x.terms())
	if !known {
		x.h.log.ErrorContext(x.r.Context(), "authentication broke", obs.Fault(err))
	}
	if no.Challenge != "" {
		x.w.Header().Set("WWW-Authenticate", no.Challenge)
	}
	if no.Retry > 0 {
		x.retryAfter(no.Retry)
	}
	x.problem(no.Status, no.Code, no.Description, no.Reason)
	return false
}

// terms say what challenges of the gateway hold.
func (x *request) terms() problem.Terms {
	t := problem.Terms{Compat: x.h.compat, Metadata: x.metadataURL()}
	if t.Metadata != "" {
		t.Scope = metadata.DefaultScope
	}
	return t
}

func (x *request) unavailable(description, reason string) {
	x.retryAfter(problem.RetryLater)
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
