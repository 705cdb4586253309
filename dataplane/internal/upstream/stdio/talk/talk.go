// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/child"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// outboxSize bounds the messages that wait to be written beside requests: answers to questions, and cancellations.
const outboxSize = 4 * maxQuestions

// Config is what all talks of a node have in common. All of it is required.
type Config struct {
	// ClientInfo is the raw object that servers see.
	ClientInfo []byte
	// StartTimeout bounds the time from the start of a process to the end of [Talk.Introduce], ProbeTimeout the silence after
	// server/discover that makes a server a legacy one.
	StartTimeout, ProbeTimeout time.Duration
	// StopGrace is how long a process may take to end, see [child.Process.Stop].
	StopGrace time.Duration
	// WriteTimeout is how long a server may leave its input unread before it counts as hung, HungAfter how long a ping
	// unanswered after a request that timed out.
	WriteTimeout, HungAfter time.Duration
	// CallCeiling ends a request whatever progress it makes.
	CallCeiling time.Duration
	// Go runs what a talk needs beside requests, and waits for it in the end.
	Go func(func())
	// Drop counts a message that belongs to nothing.
	Drop func()
}

// Owner hears from a talk what is not the business of one request. Its methods are called by goroutines of the talk and must
// not wait.
type Owner interface {
	// Tell takes a notification that may concern others than who waits for a request, and reports whether anybody took it.
	// The bytes of e are valid until it returns.
	Tell(e peer.Event) bool
	// Ask takes a question that comes while no request is under way. It returns what takes the messages about the question
	// that may follow, nil if nobody is there to answer. The bytes of e are valid until it returns.
	Ask(e peer.Event) (follow func(peer.Event))
	// Hung says that the server does not answer; the owner must stop it.
	Hung(x *Talk)
	// Over says that nothing is left of the process.
	Over(x *Talk)
}

// Spec says what to run, and for whom.
type Spec struct {
	Process child.Spec
	// To names the server, and says what is declared to it: Capabilities, Stateless, MaxResponse.
	To *peer.Target
	// Shared says that principals share the process: what names no request may be another person's (M-59).
	Shared bool
	// Describing says that the process is asked what it is and nothing else: no question reaches anybody.
	Describing bool
	// Errors keeps what the process writes to standard error.
	Errors *child.Ring
}

// Talk is one running server and the conversation with it. It is safe for concurrent use.
//
// Four goroutines belong to it: the reader of standard output, that of standard error, the writer of the outbox, and the one
// that waits for the end.
type Talk struct {
	cfg   *Config
	owner Owner
	spec  Spec
	to    *peer.Target
	kinds peer.Kinds

	// Started is when the process was started.
	Started time.Time

	run            *child.Process
	limit          atomic.Int64
	writing        chan struct{} // held while a message is written
	outbox         chan []byte
	ids            atomic.Int64
	messages, junk atomic.Int64 // lines that were messages, and that were not

	info  atomic.Pointer[peer.ServerInfo] // empty until Introduce is over
	level leveler

	read chan struct{} // closed when standard output is at its end
	over chan struct{} // closed when nothing is left

	stopping sync.Once
	stopped  atomic.Bool

	mu        sync.Mutex // guards what follows
	calls     map[int64]*pending
	questions map[string]*question // by raw id
	failure   error                // why no request can be made any more
}

// Start starts the program and the goroutines that serve it. Its caller must [Talk.Introduce] itself to the server. Errors
// are faults: Precondition with UPSTREAM_SETTINGS, Unavailable with UPSTREAM_UNREACHABLE.
func Start(cfg *Config, owner Owner, s *Spec) (*Talk, error) {
	run, err := child.Start(&s.Process)
	if errors.Is(err, child.ErrSpec) {
		return nil, s.To.Settings("cannot be started: this node does not have its command, or cannot set its environment").Because(err)
	}
	if err != nil {
		return nil, unreachable(s.To, "cannot be started").Because(err)
	}
	x := &Talk{
		cfg: cfg, owner: owner, spec: *s, to: s.To, kinds: peer.KindsOf(s.To.Capabilities), Started: time.Now(), run: run,
		writing: make(chan struct{}, 1), outbox: make(chan []byte, outboxSize), read: make(chan struct{}), over: make(chan struct{}),
		calls: make(map[int64]*pending), questions: make(map[string]*question), level: newLeveler(),
	}
	x.info.Store(&peer.ServerInfo{})
	x.Allow(s.To.MaxResponse)
	cfg.Go(x.readOutput)
	cfg.Go(func() { run.CopyErrors(s.Errors) })
	cfg.Go(x.writeOutbox)
	cfg.Go(x.await)
	return x, nil
}

// Allow sets the longest line that is accepted from now on, in bytes.
func (x *Talk) Allow(most int64) { x.limit.Store(most) }

// Info returns what the server said about itself to [Talk.Introduce].
func (x *Talk) Info() peer.ServerInfo { return *x.info.Load() }

// modern reports whether the server is known to be of the modern era.
func (x *Talk) modern() bool { return x.info.Load().Version.Era() == wire.Modern }

// Names returns the names of the server and of its connection, for logs.
func (x *Talk) Names() (server, connection string) { return x.to.Server, x.to.Connection }

// Waiting returns how many requests are under way.
func (x *Talk) Waiting() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.calls)
}

// Over is closed when nothing is left of the process.
func (x *Talk) Over() <-chan struct{} { return x.over }

// await waits for the end of the process, then ends the requests and tells the owner. What the process wrote before its end
// is read first.
func (x *Talk) await() {
	exit := x.run.Wait()
	<-x.read
	x.fail(fmt.Errorf("%w: %s", errGone, exit))
	x.run.Close()
	x.owner.Over(x)
	close(x.over)
}

// Stop ends the process. It returns at once; no request can be made any more.
func (x *Talk) Stop(why string) {
	x.stopping.Do(func() {
		x.stopped.Store(true)
		x.fail(fmt.Errorf("%w: %s", errGone, why))
		x.cfg.Go(func() { x.run.Stop(x.cfg.StopGrace) })
	})
}

// Kill kills the process and all it started, at once.
func (x *Talk) Kill() { x.run.Kill() }

// fail ends all requests, and refuses new ones, with the first cause given. Who has a question is told that it is void.
func (x *Talk) fail(cause error) {
	x.mu.Lock()
	if x.failure == nil {
		x.failure = cause
	}
	for id, w := range x.calls {
		delete(x.calls, id)
		w.finish(nil, nil, x.failure)
	}
	asked := x.questions
	x.questions = nil
	x.mu.Unlock()
	for id, q := range asked {
		params := append(append([]byte(`{"requestId":`), id...), '}')
		q.follow(event(methodCancelled, wire.AppendNotification(nil, methodCancelled, params)))
	}
}

// Ended reports whether no request can be made any more.
func (x *Talk) Ended() bool { return x.Cause() != nil }

// Cause returns why no request can be made any more, nil while they can.
func (x *Talk) Cause() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failure
}

// write sends one message, which ends with a line break, and says whether any of it went out. The server must take it
// within the write timeout, whoever waits for it: half a line would spoil all that follow.
func (x *Talk) write(ctx context.Context, message []byte) (sent bool, err error) {
	select {
	case x.writing <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	case <-x.run.Exited():
		return false, errGone
	}
	defer func() { <-x.writing }()
	if err := x.run.In.SetWriteDeadline(time.Now().Add(x.cfg.WriteTimeout)); err != nil {
		return false, err
	}
	n, err := x.run.In.Write(message)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		x.owner.Hung(x)
		return n > 0, errNoReader
	}
	return n > 0, err
}

// Notify sends a notification of the client, without waiting for the server. params is a raw object, nil for none.
func (x *Talk) Notify(method string, params []byte) {
	if params != nil {
		params = wire.AppendOneLine(nil, params)
	}
	x.post(wire.AppendNotification(nil, method, params))
}

// post sends a message beside requests. Without room in the outbox it is dropped and counted.
func (x *Talk) post(message []byte) {
	select {
	case x.outbox <- append(message, '\n'):
	default:
		x.cfg.Drop()
	}
}

func (x *Talk) writeOutbox() {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // what is sent here outlives calls; exited ends it
	defer cancel()
	for {
		select {
		case m := <-x.outbox:
			_, _ = x.write(ctx, m) // nobody is left to hear of a failure; a broken pipe ends the process for all
		case <-x.run.Exited():
			return
		}
	}
}

func event(method string, raw []byte) peer.Event {
	var m wire.Message
	_ = wire.Scan(raw, &m) // it was made here
	return peer.Event{Kind: peer.Notification, Method: method, Raw: raw, Params: m.Params.Of(raw)}
}
