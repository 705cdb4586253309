// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// maxJitter spreads what a change of configuration sets off in all streams (G-17), and joins changes that come
// together.
const maxJitter = 250 * time.Millisecond

// reconnectAfter is what clients of a draining node are asked to wait (M-95).
const reconnectAfter = time.Second

// listen answers GET: the session's stream (M-38). It carries tools/list_changed, and lasts as long as the session, the
// token and the principal's access do (M-21, RS-11).
func (x *request) listen() {
	if x.form = intake.Accepts(x.r.Header["Accept"]); x.form&answer.Events == 0 {
		x.fail(intake.Refuse(http.StatusNotAcceptable, "The stream is text/event-stream."))
		return
	}
	if err := x.openSession(); err != nil {
		x.fail(err)
		return
	}
	if id := x.r.Header.Get(headerEventID); id != "" {
		x.fail(rpcerror.InvalidRequest("This event cannot be resumed from.")) // M-40: no event has an id, so none is known
		return
	}
	one := crowd.Count{Streams: 1}
	if !x.h.crowd.Enter(x.seat(), one) {
		x.fail(rpcerror.Flood("Too many streams are open at this gateway."))
		return
	}
	defer x.h.crowd.Leave(x.seat(), one)
	st, err := x.session.Listen()
	if err != nil {
		x.fail(err)
		return
	}
	defer x.session.Leave(st)
	x.status = http.StatusOK
	// Taken before the head is sent: a client that saw the stream open is told of every change after that.
	changed := x.h.view.Changed()
	if out, err := answer.Open(x.w); err == nil {
		x.follow(st, out, changed)
	}
}

// follow writes the stream until it must end or the client has gone.
func (x *request) follow(st *session.Stream, out *answer.Stream, changed <-chan struct{}) {
	beat := time.NewTicker(answer.Heartbeat)
	defer beat.Stop()
	expiry := time.NewTimer(x.remaining())
	defer expiry.Stop()
	var look <-chan time.Time // nil: nothing has changed since the last look
	if x.h.view.Load() != x.snapshot {
		look = time.After(jitter()) // changed between authentication and Changed
	}
	for {
		var err error
		select {
		case <-x.r.Context().Done():
			return
		case <-st.Closed():
			return
		case <-x.h.draining:
			_ = out.Retry(reconnectAfter) // best effort: the stream ends either way
			return
		case <-changed:
			changed, look = nil, time.After(jitter())
		case <-look:
			look, changed = nil, x.h.view.Changed()
			more, still := x.renew()
			if !still {
				return
			}
			expiry.Reset(x.remaining())
			if more {
				err = out.Message([]byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`))
			}
		case <-expiry.C:
			if _, still := x.renew(); !still {
				return
			}
			expiry.Reset(x.remaining())
		case <-beat.C:
			if x.h.isDraining() || x.h.stale(x.gateway) {
				return
			}
			err = out.Comment()
		}
		if err != nil {
			return // the client has gone
		}
	}
}

func jitter() time.Duration { return rand.N(maxJitter) } //nolint:gosec // spreads load, keeps no secret

// remaining is how long the stream may last as things are, at least a second: authn may allow for skewed clocks.
func (x *request) remaining() time.Duration {
	end := x.session.Expires()
	if t := x.principal.Expires; !t.IsZero() && t.Before(end) {
		end = t
	}
	return max(time.Second, time.Until(end))
}

// renew takes the newest snapshot. still says whether the same principal may go on listening, changed whether the tools
// it sees have changed.
func (x *request) renew() (changed, still bool) {
	s := x.h.view.Load()
	g := s.Gateway(x.gateway.UID)
	if g == nil || !time.Now().Before(x.session.Expires()) {
		return false, false
	}
	p, err := x.h.authn.Authenticate(s, g, x.r)
	if err != nil || !samePrincipal(p, x.principal) {
		return false, false
	}
	changed = toolsChanged(x.snapshot, x.gateway, s, g)
	x.snapshot, x.gateway, x.principal = s, g, p
	return changed, true
}

func samePrincipal(a, b ident.Principal) bool {
	return a.Kind == b.Kind && a.UID == b.UID && a.ClientID == b.ClientID
}

// toolsChanged reports whether tools/list answers differently than before.
func toolsChanged(was *view.Snapshot, old *view.Gateway, is *view.Snapshot, now *view.Gateway) bool {
	if old == now && !was.HasDenials() && !is.HasDenials() {
		return false
	}
	return !slices.EqualFunc(was.Tools(old), is.Tools(now), func(a, b *view.Tool) bool {
		return a == b || (a.Exposed == b.Exposed && a.Description == b.Description && (a.Body == b.Body || bytes.Equal(a.Body.Bytes(), b.Body.Bytes())))
	})
}
