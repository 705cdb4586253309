// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"bytes"
	"context"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/edge/ask"
	"github.com/penstockhq/penstock/dataplane/internal/edge/crowd"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The transport of 2024-11-05, HTTP+SSE (M-44): a session is one stream, which carries everything to the client; the
// client's messages come with requests to another path.
const (
	pathMessages   = "/messages"
	querySessionID = "sessionId"
)

// wantsSSE reports whether a GET names the type of streams, as its clients do and browsers do not (M-1 row 10).
func (x *request) wantsSSE() bool {
	for _, v := range x.r.Header["Accept"] {
		if strings.Contains(strings.ToLower(v), "text/event-stream") {
			return true
		}
	}
	return false
}

// openSSE answers the GET that starts a session of HTTP+SSE, which ends with the stream.
func (x *request) openSSE() {
	if err := x.scoped(); err != nil {
		x.fail(err)
		return
	}
	one := crowd.Count{Streams: 1}
	if !x.h.crowd.Enter(x.seat(), one) {
		x.fail(rpcerror.Flood("Too many streams are open at this gateway."))
		return
	}
	defer x.h.crowd.Leave(x.seat(), one)
	id, s, err := x.h.sessions.CreateSSE(x.r.Context(), x.gateway.UID, x.principal)
	if err != nil {
		x.fail(err)
		return
	}
	defer x.h.sessions.End(context.WithoutCancel(x.r.Context()), s)
	x.enter(s)
	endpoint := strings.TrimSuffix(x.r.URL.EscapedPath(), "/") + pathMessages + "?" + querySessionID + "=" + id
	x.hold(nil, [][]byte{sse.AppendEvent(nil, "endpoint", "", []byte(endpoint))})
}

// message takes what a client of HTTP+SSE sends (M-1 row 3): requests are answered on the stream of the session.
// broken is why the body could not be scanned, nil if it could or is an array.
func (x *request) message(broken error) {
	if x.forwardMessage() {
		return
	}
	c, err := x.openChannel()
	if err == nil && c.ends() && x.h.isDraining() {
		x.unavailable("This node is shutting down.", ReasonDraining)
		return
	}
	switch {
	case err != nil:
	case wire.IsBatch(x.body):
		err = x.messages(c)
	case broken != nil:
		err = rpcerror.AtEnvelope(broken)
	case x.msg.Kind == wire.Request:
		err = c.run(x, x.body)
	default:
		_ = x.notified() // all questions of the session are this node's
	}
	if err != nil {
		x.fail(err)
		return
	}
	x.accept202()
}

// messages takes a batch (M-43), whose requests are answered one by one.
func (x *request) messages(c *channel) error {
	if x.version != wire.V20250326 {
		return errNoBatch()
	}
	members, err := x.split()
	if err != nil {
		return err
	}
	defer release(x.h, members)
	if asks, answers := kinds(members); asks && answers {
		return errMixedBatch()
	}
	for _, m := range members {
		if m.msg.Kind == wire.Request || m.broken != nil {
			if err := c.run(x, m.body); err != nil { // the others run: this one is answered where they are
				o := m.failed(err)
				c.out.Respond(m.frame(&o), true)
			}
			continue
		}
		_ = m.notified() // as above
	}
	return nil
}

// openChannel finds the stream of the session that the query names.
func (x *request) openChannel() (*channel, error) {
	ids := x.r.URL.Query()[querySessionID]
	if len(ids) == 0 || ids[0] == "" {
		return nil, rpcerror.InvalidRequest(querySessionID + " required")
	}
	if len(ids) == 1 {
		s, err := x.h.sessions.OpenSSE(x.gateway.UID, x.principal, ids[0])
		if err != nil {
			return nil, err
		}
		if c, ok := s.Listener().(*channel); ok {
			x.enter(s)
			return c, nil
		}
	}
	return nil, fault.New(fault.NotFound, session.ReasonNotFound, "Invalid session ID")
}

// ends reports whether the stream takes no more requests: it ends when those it has are answered.
func (c *channel) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// run answers one request of x on the stream, in a goroutine that the stream waits for: x is over as soon as the client
// knows that its message came. The error is why it does not run: the client's limits are told where it waits (mcp.md §2.1).
func (c *channel) run(x *request, body []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return fault.New(fault.NotFound, session.ReasonNotFound, "Invalid session ID")
	}
	m := x.member(bytes.Clone(body))
	ctx, cancel := context.WithCancelCause(c.ctx)
	m.r, m.cancel = m.r.WithContext(ctx), cancel
	m.client.Asker = ask.New(m.session, nil)
	if m.broken = wire.Scan(m.body, &m.msg); m.broken == nil {
		m.method = m.methodOf()
		err := m.scoped() // told where the message came, which has a status
		if err == nil {
			err = m.admit()
		}
		if err != nil {
			cancel(nil)
			release(m.h, []*request{m})
			return err
		}
	}
	c.calls.Go(func() {
		defer release(m.h, []*request{m})
		defer cancel(nil)
		var o outcome
		if m.broken != nil {
			o = m.failed(m.broken)
		} else {
			o = m.perform(ctx, func(message []byte) error { c.out.Send(message); return nil })
			m.dismiss()
		}
		if o.failure == nil || !o.failure.Silent {
			c.out.Respond(m.frame(&o), true)
		}
	})
	return nil
}
