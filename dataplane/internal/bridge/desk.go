// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/question"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// askTime is how long a client may take to answer one question (M-83).
const askTime = 10 * time.Minute

// desk puts the questions of legacy upstreams to a legacy client, and carries the answers back.
type desk struct {
	client call.Client
	// offered is the raw object of capabilities that the upstreams were told of.
	offered []byte
	version wire.Version // of the client

	mu      sync.Mutex
	closed  bool
	waiting map[string]context.CancelFunc // by upstream and raw id
	asking  sync.WaitGroup
}

// ask puts a question to the client on a goroutine of its own, until ctx ends or the upstream takes it back. from tells
// upstreams apart whose ids may be equal.
func (d *desk) ask(ctx context.Context, from string, e call.Event) {
	q := question.Question{Method: e.Method, Params: bytes.Clone(e.Params)}
	if d.client.Asker == nil || !d.may(q) {
		e.Answer(question.NotFound())
		return
	}
	id := from + "\x00" + string(e.ID)
	ctx, cancel := context.WithTimeout(ctx, askTime)
	d.mu.Lock()
	_, twice := d.waiting[id]
	if d.closed || twice {
		d.mu.Unlock()
		cancel()
		e.Answer(q.Unanswered())
		return
	}
	if d.waiting == nil {
		d.waiting = make(map[string]context.CancelFunc)
	}
	d.waiting[id] = cancel
	d.asking.Add(1)
	d.mu.Unlock()
	answer := e.Answer // the rest of e is not valid any more when this returns
	method, params, progress, unanswered := q.Method, q.Params, e.Progress, q.Unanswered()
	go func(params []byte) { // an argument: it is let go of when the question is sent, not when it is answered
		defer d.asking.Done()
		defer cancel()
		a, err := d.client.Asker.Ask(ctx, call.Question{Method: method, Params: params, Connection: from, Progress: progress})
		d.mu.Lock()
		delete(d.waiting, id)
		d.mu.Unlock()
		if err != nil {
			a = unanswered
		}
		answer(a)
	}(params)
}

// may reports whether the client can answer.
func (d *desk) may(q question.Question) bool {
	return q.AnswerableBy(d.offered) && (!q.IsURL() || question.KnowsURL(d.client.Capabilities, d.version))
}

// takeBack ends a question that the upstream cancelled; params are those of its notification. The client is told.
func (d *desk) takeBack(from string, params []byte) {
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if cancel := d.waiting[from+"\x00"+string(m.P.RequestID.Of(params))]; cancel != nil {
		cancel()
	}
}

// close takes back all questions and waits until nothing is asked any more.
func (d *desk) close() {
	d.mu.Lock()
	d.closed = true
	for _, cancel := range d.waiting {
		cancel()
	}
	d.mu.Unlock()
	d.asking.Wait()
}
