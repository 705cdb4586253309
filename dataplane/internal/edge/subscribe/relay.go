// SPDX-License-Identifier: Apache-2.0

package subscribe

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
)

// Relay carries what upstreams tell to one subscription. Its fields are set before Start; one goroutine uses it.
type Relay struct {
	ID   []byte               // raw id of the request
	Send func(message []byte) // queues a message for the client; safe for concurrent use
	// Watch delivers notifications of upstreams until ctx is canceled.
	Watch func(ctx context.Context, honoured call.Subscription, deliver func(message []byte))
	// Broken is called by another goroutine if Watch panics: nobody watches upstreams any more.
	Broken func(err error)

	honoured call.Subscription
	watch    *watch // under way; nil before Start

	mu     sync.Mutex
	opened bool
	early  [][]byte // what came before Open
}

// maxEarly is how many messages wait for Open; when more come, the client gets them as if it had been called.
const maxEarly = 256

// Open sends the acknowledgement, which is the first message of a subscription, and then what was told before.
func (r *Relay) Open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open()
}

func (r *Relay) open() {
	if r.opened {
		return
	}
	r.opened = true
	r.Send(Acknowledged(r.ID, r.honoured))
	for _, message := range r.early {
		r.Send(message)
	}
	r.early = nil
}

// watch is one call of Watch.
type watch struct {
	stop  context.CancelFunc
	ended chan struct{}
}

func (w *watch) end() {
	w.stop()
	<-w.ended
}

// overlap is how long a watch goes on beside the one that takes its place, while servers have not taken that yet.
const overlap = time.Second

// Start has upstreams watched for what is honoured until Stop, which is to be called. A second Start takes the place of the
// first, which ends when servers have taken the new one: in between, what changes is told by either or both, not by none.
func (r *Relay) Start(ctx context.Context, honoured call.Subscription) {
	old, given := r.watch, honoured.Established
	within, stop := context.WithCancel(ctx)
	r.watch = &watch{stop: stop, ended: make(chan struct{})}
	r.honoured = honoured
	taken := make(chan struct{})
	honoured.Established = sync.OnceFunc(func() {
		close(taken)
		if given != nil {
			given()
		}
	})
	go r.run(within, r.watch, r.Watch, honoured)
	if old == nil {
		return
	}
	late := time.NewTimer(overlap)
	defer late.Stop()
	select {
	case <-taken:
	case <-late.C:
	case <-ctx.Done():
	}
	old.end()
}

func (r *Relay) run(
	ctx context.Context, w *watch, run func(context.Context, call.Subscription, func(message []byte)), honoured call.Subscription,
) {
	defer close(w.ended)
	defer func() {
		if p := recover(); p != nil {
			r.Broken(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	run(ctx, honoured, func(message []byte) { r.send(message, &honoured) })
}

// Stop ends the watch and waits for it.
func (r *Relay) Stop() {
	if r.watch != nil {
		r.watch.end()
	}
}

// Honoured returns what the subscription holds at present.
func (r *Relay) Honoured() call.Subscription { return r.honoured }

// Tell sends a notification of the gateway itself, if the subscription holds its kind.
func (r *Relay) Tell(message []byte) { r.send(message, &r.honoured) }

func (r *Relay) send(message []byte, honoured *call.Subscription) {
	tagged := Tagged(message, r.ID, honoured)
	if tagged == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.opened && len(r.early) < maxEarly {
		r.early = append(r.early, tagged)
		return
	}
	r.open()
	r.Send(tagged)
}
