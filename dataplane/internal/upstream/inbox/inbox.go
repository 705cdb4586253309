// SPDX-License-Identifier: Apache-2.0

package inbox

import (
	"bytes"
	"context"
	"strconv"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Owner gets the messages that the box cannot place itself.
type Owner interface {
	// Message takes a notification, or a question where m.ID is set. newest is
	// the call entered last that has not left, nil if there is none. The bytes
	// of m are valid until it returns. An error ends the stream.
	Message(ctx context.Context, m exchange.Inbound, newest *Call) error
	// Dropped counts a message that belongs to nothing.
	Dropped(ctx context.Context)
}

// Box places the messages of one session's own stream: the GET stream, or the
// one stream of HTTP+SSE, which has the responses too. Take is called by the one
// goroutine that reads the stream, everything else by any.
type Box struct {
	Owner Owner

	msg wire.Message // scratch of Take
	out []byte

	mu    sync.Mutex
	calls []*Call // the newest last
	err   error   // why the stream ended, for those who wait for a response
}

// Enter begins a call. Its Leave must be called. The error is that of a stream
// that has ended.
func (b *Box) Enter(c *Call) error {
	c.start()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && c.Responses != nil {
		return b.err
	}
	b.calls = append(b.calls, c)
	return nil
}

// Leave ends a call: when it returns, nothing is given to the call any more.
func (b *Box) Leave(c *Call) {
	b.mu.Lock()
	for i, other := range b.calls {
		if other == c {
			b.calls = append(b.calls[:i], b.calls[i+1:]...)
			break
		}
	}
	b.mu.Unlock()
	c.stop()
}

// Break ends the calls that wait for a response, and refuses such calls from
// now on.
func (b *Box) Break(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	for _, c := range b.calls {
		if c.Responses != nil {
			c.Cancel(err)
		}
	}
}

// Take places one message, or a batch of them. The error is the owner's, or that
// of a message which is no JSON-RPC.
func (b *Box) Take(ctx context.Context, text []byte) error {
	if !wire.IsBatch(text) {
		return b.take(ctx, text)
	}
	spans, err := wire.Elements(nil, text)
	if err != nil {
		return err
	}
	for _, s := range spans {
		if err := b.take(ctx, s.Of(text)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Box) take(ctx context.Context, text []byte) error {
	m := &b.msg
	if err := wire.Scan(text, m); err != nil {
		return err
	}
	if m.Kind == wire.Response || m.Kind == wire.ErrorResponse {
		if c := b.find(m.ID.Of(text)); c != nil && c.Responses != nil {
			c.respond(Response{Result: bytes.Clone(m.Result.Of(text)), Error: bytes.Clone(m.Error.Of(text))})
			return nil
		}
		b.Owner.Dropped(ctx)
		return nil
	}
	in := exchange.Inbound{ID: m.ID.Of(text), Params: m.Params.Of(text), Raw: text}
	in.Method, _ = wire.DecodeString(m.Method.Of(text))
	if in.Method != "notifications/progress" || m.Kind != wire.Notification {
		return b.Owner.Message(ctx, in, b.newest())
	}
	c := b.find(m.P.ProgressToken.Of(text))
	if c == nil || c.Token == nil {
		b.Owner.Dropped(ctx)
		return nil
	}
	var e wire.Edits
	e.Replace(m.P.ProgressToken.Span, c.Token)
	b.out = e.AppendTo(b.out[:0], text)
	grown := len(b.out) - len(text)
	in.Raw, in.Params = b.out, b.out[m.Params.Start:m.Params.End+grown]
	c.Restart()
	c.Give(func() error { return c.Deliver(in, nil) })
	if cap(b.out) > keptScratch {
		b.out = nil
	}
	return nil
}

// keptScratch is the largest buffer that a box keeps.
const keptScratch = 64 << 10

// find returns the call whose id, which is its progress token too, is raw.
func (b *Box) find(raw []byte) *Call {
	id, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		if c.ID == id {
			return c
		}
	}
	return nil
}

func (b *Box) newest() *Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return nil
	}
	return b.calls[len(b.calls)-1]
}

// Err returns why the stream ended, nil if it did not.
func (b *Box) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
