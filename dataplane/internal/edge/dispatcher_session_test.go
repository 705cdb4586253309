// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// talk is what a dispatcher remembers of legacy sessions: who listens for messages outside of calls, what clients told,
// which sessions ended.
type talk struct {
	mu       sync.Mutex
	attached []*attachment
	notified []string // methods with their params
	ended    []string // sessions
	said     chan int // see feed
}

// attachment is one Attach that is not detached.
type attachment struct {
	caller  call.Caller
	deliver func([]byte)
}

// Attach implements edge.Dispatcher.
func (k *talk) Attach(c call.Caller, deliver func([]byte)) func() {
	a := &attachment{c, deliver}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.attached = append(k.attached, a)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.attached = slices.DeleteFunc(k.attached, func(b *attachment) bool { return a == b })
	}
}

// listeners are those that upstreams can tell something outside of calls.
func (k *talk) listeners() []*attachment {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.attached)
}

// Notify implements edge.Dispatcher.
func (k *talk) Notify(c call.Caller, method string, params []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.notified = append(k.notified, c.Client.Session+" "+method+" "+string(params))
}

// EndSession implements edge.Dispatcher.
func (k *talk) EndSession(session string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = append(k.ended, session)
}

// heard returns what clients told, and the sessions that ended.
func (k *talk) heard() (notified, ended []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.notified), slices.Clone(k.ended)
}

// feed returns what the tool steps says next, as progress; it ends when that is closed.
func (k *talk) feed() chan<- int {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.said = make(chan int, 512)
	return k.said
}

func (d *dispatcher) steps(ctx context.Context, t call.Call, sink func([]byte) error) (call.Reply, error) {
	d.talk.mu.Lock()
	said := d.said
	d.talk.mu.Unlock()
	for {
		select {
		case n, ok := <-said:
			if !ok {
				return call.Reply{Result: []byte(`{"content":[]}`)}, nil
			}
			_ = sink(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, t.ProgressToken, n))
		case <-ctx.Done():
			return call.Reply{}, ctx.Err()
		}
	}
}

// question asks the client and answers with what it said.
func (d *dispatcher) question(ctx context.Context, c call.Caller) (call.Reply, error) {
	if c.Client.Asker == nil {
		return call.Reply{}, fault.New(fault.Bug, fault.ReasonInternal, "nobody can be asked")
	}
	a, err := c.Client.Asker.Ask(ctx, call.Question{Method: "roots/list"})
	if err != nil {
		return call.Reply{}, err
	}
	said := append(append([]byte(nil), a.Result...), a.Error...)
	return call.Reply{Result: append(wire.AppendString([]byte(`{"content":[{"type":"text","text":`), string(said)), `}]}`...)}, nil
}

// complete knows one prompt and one template (M-53). It shows the context that came with the request.
func complete(t call.Call) (call.Reply, error) {
	p := &t.Message.P
	name, _ := wire.DecodeString(p.RefName.Of(t.Body))
	uri, _ := wire.DecodeString(p.RefURI.Of(t.Body))
	if name == "ask" {
		return special()["ask-form"], nil
	}
	if name != "greet" && uri != "test://{x}" {
		return call.Reply{}, fault.New(fault.Invalid, wire.ReasonParams, "Unknown reference")
	}
	value := "a"
	if fields, err := wire.Fields(nil, t.Params); err == nil {
		value += string(wire.Lookup(fields, "context").Of(t.Params))
	}
	return call.Reply{Result: append(wire.AppendString([]byte(`{"completion":{"values":[`), value), `]}}`...)}, nil
}
