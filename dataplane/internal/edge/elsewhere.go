// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Peers are the other nodes of the region (forward room), for what only one of them can answer (M-93).
type Peers interface {
	// Elsewhere reports whether a name is that of another node, be it there or not.
	Elsewhere(node string) bool
	// Forward has another node answer a request of a client and passes its answer on as it comes; the status is the answer's.
	// When the request's context ends, the other node is told. With an error nothing was sent to the client, but for reason
	// PEER_BROKEN. Faults are Unavailable with the reasons below, Exhausted, or Canceled.
	Forward(w http.ResponseWriter, r *http.Request, d Detour) (status int, err error)
}

// Reasons of the faults of [Peers] that are told apart here.
const (
	reasonPeerBroken = "PEER_BROKEN" // in the middle of the answer
	reasonPeerLost   = "PEER_LOST"   // before the answer: what was asked may have been done
)

// Detour is the way of a request by another node.
type Detour struct {
	Node       string
	Why        string // answer, message, resume, held, home
	GatewayUID string
	Principal  ident.Principal
	Passed     http.Header // headers of the client that servers get (G-40)
	Body       []byte
	Unwanted   func(status int) bool // answers that are not for the client; nil for none
}

// Why a request makes a detour.
const (
	whyAnswer  = "answer"
	whyMessage = "message"
	whyResume  = "resume"
	whyHeld    = "held"
	whyHome    = "home"
)

// ServeForwarded answers a request that another node has let in, whose gateway and principal it names. Of the order of M-14
// only authentication is left out: the principal must be one that may use the gateway by this node's own view (G-2). A
// draining node answers too, for what it has already (M-95). What comes here goes to no third node (M-93).
func (h *Handler) ServeForwarded(w http.ResponseWriter, r *http.Request, gatewayUID string, p ident.Principal) {
	x := h.begin(w, r)
	defer h.end(x)
	x.carried = &p
	if x.path() && x.findGateway(gatewayUID) && x.authenticate() {
		x.route()
	}
}

// identify says who sends the request and whether they may use the gateway: by the token, or, of a principal that another
// node has found out, by what this node knows of it.
func (x *request) identify(s *view.Snapshot, g *view.Gateway) (ident.Principal, error) {
	if x.carried == nil {
		return x.h.authn.Authenticate(s, g, x.r)
	}
	p := *x.carried
	if !p.Expires.IsZero() && time.Now().After(p.Expires.Add(carriedSkew)) {
		return p, fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "The access token has expired")
	}
	denied := fault.New(fault.Denied, "GATEWAY_ACCESS_DENIED", "You may not use this gateway")
	if p.ClientID != "" {
		client, refused := s.Client(p.ClientID)
		if refused {
			return p, fault.New(fault.Unauthenticated, reasonRevoked, "The access token is invalid or expired")
		}
		if p.Kind == ident.KindServiceAccount {
			if client == nil {
				return p, denied
			}
			if _, listed := client.Gateways[g.Name]; !listed {
				return p, denied
			}
		}
	}
	if !s.Usable(g) || !s.MayUse(g, p) {
		return p, denied
	}
	return p, nil
}

// carriedSkew is how long a token counts on after its end by this node's clock: the other one may be late (RS-10).
const carriedSkew = 60 * time.Second

// isElsewhere reports whether a name that a client has brought back is another node's, to which the request may still go.
func (x *request) isElsewhere(node string) bool {
	return x.h.peers != nil && x.carried == nil && x.h.peers.Elsewhere(node)
}

// forward has another node answer with w, as long as the caller may have it. With a nil error the request is answered.
func (x *request) forward(w http.ResponseWriter, d Detour) error {
	d.GatewayUID, d.Principal, d.Passed = x.gateway.UID, x.principal, x.passed()
	ctx, cancel := context.WithCancelCause(x.r.Context())
	x.cancel = cancel
	var watched sync.WaitGroup
	watched.Go(func() { x.watch(ctx, d.Why == whyResume) })
	status, err := x.h.peers.Forward(w, x.r.WithContext(ctx), d)
	over := context.Cause(ctx)
	cancel(nil)
	watched.Wait()
	switch {
	case err == nil:
		x.status = status
		return nil
	case fault.From(err).Reason == reasonPeerBroken:
		panic(http.ErrAbortHandler) // the client must see that the answer has no end
	case fault.KindOf(err) == fault.Canceled && over != nil:
		return nil //nolint:nilerr // nobody waits, or nobody may
	}
	return err
}

// watch ends the detour when its caller loses access, and a long stream when this node shuts down: what the other node
// cannot see. What the principal may use it sees for itself.
func (x *request) watch(ctx context.Context, long bool) {
	var draining <-chan struct{}
	if long {
		draining = x.h.draining
	}
	tick := time.NewTicker(answer.GuardEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-draining:
			x.stop(errDraining)
			return
		case <-tick.C:
			if !x.MayGoOn() {
				return
			}
		}
	}
}

// forwardNotice gives a notification or response to the node that it is for. That the node is gone is as if it had never
// asked (M-37); the error is for one that cannot be reached now.
func (x *request) forwardNotice(node string) error {
	status := x.status
	err := x.forward(silent{}, Detour{Node: node, Why: whyAnswer, Body: x.body})
	x.status = status
	if err != nil && isGone(err) {
		return nil
	}
	return err
}

// failNotice answers a notification or response that could not be given to whom it is for.
func (x *request) failNotice(err error) {
	f := fault.From(err)
	x.refuse(rpcerror.Error{
		Status: http.StatusServiceUnavailable, Code: wire.CodeUnavailable, Message: f.Public, Retry: max(f.Retry, time.Second),
	})
}

// silent takes the answer of another node to something that this one answers itself.
type silent struct{}

// Header implements [http.ResponseWriter].
func (silent) Header() http.Header { return http.Header{} }

// Write implements [http.ResponseWriter].
func (silent) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (silent) WriteHeader(int) {}

// forwardMessage has the node with the stream of an HTTP+SSE session take a message (M-44). It reports false if this node
// has it, or nobody. The session has gone with its node.
func (x *request) forwardMessage() bool {
	ids := x.r.URL.Query()[querySessionID]
	if len(ids) != 1 || x.h.peers == nil {
		return false
	}
	node := x.h.sessions.Holder(x.gateway.UID, x.principal, ids[0])
	if !x.isElsewhere(node) {
		return false
	}
	switch err := x.forward(x.w, Detour{Node: node, Why: whyMessage, Body: x.body}); {
	case err == nil:
	case fault.KindOf(err) == fault.Exhausted:
		x.fail(err)
	default:
		x.fail(fault.New(fault.NotFound, session.ReasonNotFound, "Invalid session ID").Because(err))
	}
	return true
}

// forwardResume has the node that has a stream go on with it for a client that comes back for it (M-40). It reports false if
// that is this one, or the other cannot: what is left of the stream may lie in the store.
func (x *request) forwardResume(eventID string) bool {
	node := replay.NodeOf(eventID)
	if !x.isElsewhere(node) {
		return false
	}
	return nil == x.forward(x.w, Detour{
		Node: node, Why: whyResume, Unwanted: func(status int) bool { return status != http.StatusOK },
	})
}

// forwardRetry has the node that holds a call take the client's answers to its questions (M-78). It reports false if this
// one does, or the other has gone: then the call has too, and bridge says so (M-81).
func (x *request) forwardRetry() bool {
	raw := x.msg.P.RequestState.Of(x.body)
	if raw == nil || x.h.peers == nil || x.h.held == nil {
		return false
	}
	node := x.h.held(x.gateway.UID, x.principal, raw)
	if !x.isElsewhere(node) {
		return false
	}
	return x.detour(node, whyHeld)
}

// forwardHome has the node where a process or session lives run the call that needs it (M-94). It reports false if that is
// this one, or if the home is not there: then the call starts a process here.
func (x *request) forwardHome() bool {
	if x.h.peers == nil || x.h.home == nil || x.carried != nil {
		return false
	}
	x.method = x.methodOf()
	if method.Find(x.method, x.version, x.gateway).Action != method.Called {
		return false
	}
	name, _ := wire.DecodeString(x.msg.P.Name.Of(x.body))
	node := x.h.home(x.r.Context(), x.caller(), call.Call{
		Method: x.method, Name: name, Params: x.msg.Params.Of(x.body), Message: &x.msg, Body: x.body,
	})
	return x.isElsewhere(node) && x.detour(node, whyHome)
}

// detour forwards a call, within the limits of its caller. It reports false if the other node did not get it. The session does
// not know of the call here: what its client cancels, the other node is told (M-51).
func (x *request) detour(node, why string) bool {
	one := crowd.Count{Requests: 1}
	if !x.h.crowd.Enter(x.seat(), one) {
		x.fail(rpcerror.Flood("Too many requests are in flight at this gateway."))
		return true
	}
	defer x.h.crowd.Leave(x.seat(), one)
	err := x.forward(x.w, Detour{Node: node, Why: why, Body: x.body})
	switch {
	case err == nil:
	case fault.From(err).Reason == reasonPeerLost:
		e := x.toMCP(err)
		e.Data = []byte(`{"reason":"outcome_unknown"}`) // G-53: never a second time by itself
		x.refuse(e)
	case fault.KindOf(err) == fault.Exhausted:
		x.fail(err)
	default:
		return false
	}
	return true
}

// isGone reports whether a fault of [Peers] says that what the request was for is not there any more.
func isGone(err error) bool {
	switch fault.From(err).Reason {
	case "PEER_UNKNOWN", "PEER_REFUSED":
		return true
	}
	return false
}
