// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/child"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// outboxSize bounds the messages that wait to be written beside calls: answers to questions, and cancellations.
const outboxSize = 64

// process is one running server and the conversation with it.
//
// Four goroutines belong to it, all counted in Pool.group: the reader of standard output, that of standard error, the
// writer of the outbox, and the one that waits for the end.
type process struct {
	pool               *Pool
	site               *site
	server, connection string
	shared             bool // by principals
	started            time.Time

	run            *child.Process
	limit          atomic.Int64
	writing        chan struct{} // held while a message is written
	outbox         chan []byte
	info           upstream.ServerInfo
	ids            atomic.Int64
	messages, junk atomic.Int64 // lines that were messages, and that were not

	read chan struct{} // closed when standard output is at its end

	stopping sync.Once

	mu      sync.Mutex // guards what follows
	calls   map[int64]*waiting
	failure error // why no call can be made any more
}

// start starts the process of a target and does the handshake.
func (p *Pool) start(ctx context.Context, s *site, t *Target) (*process, error) {
	if err := p.takeRoom(ctx, t); err != nil {
		return nil, err
	}
	x, err := p.spawn(s, t)
	if err != nil {
		<-p.room
		return nil, err
	}
	if err := x.handshake(ctx, t); err != nil {
		x.stop("it did not initialize")
		return nil, err
	}
	return x, nil
}

// spawn starts the program and the goroutines that serve it.
func (p *Pool) spawn(s *site, t *Target) (*process, error) {
	run, err := child.Start(&child.Spec{Command: t.Command, Args: t.Args, Env: t.Env, Secrets: t.SecretEnv, Dir: p.cfg.Dir})
	if errors.Is(err, child.ErrSpec) {
		return nil, t.settings("cannot be started: this node does not have its command, or cannot set its environment").Because(err)
	}
	if err != nil {
		return nil, t.unreachable("cannot be started").Because(err)
	}
	x := &process{
		pool: p, site: s, server: t.Server, connection: t.Connection, shared: t.Stateless, started: time.Now(), run: run,
		writing: make(chan struct{}, 1), outbox: make(chan []byte, outboxSize), calls: make(map[int64]*waiting),
		read: make(chan struct{}),
	}
	x.allow(t, p.cfg.MaxMessage)
	p.mu.Lock()
	p.processes[x] = struct{}{}
	closed := p.closed
	p.mu.Unlock()
	p.group.Go(x.readOutput)
	p.group.Go(func() { run.CopyErrors(&s.errors) })
	p.group.Go(x.writeOutbox)
	p.group.Go(x.await)
	if closed {
		x.stop(whyStopping)
	}
	return x, nil
}

// allow sets the longest line that is accepted from now on.
func (x *process) allow(t *Target, most int64) {
	if t.MaxResponse > 0 {
		most = t.MaxResponse
	}
	x.limit.Store(most)
}

// await waits for the end of the process, then ends the calls and forgets it. What it wrote before its end is read first.
func (x *process) await() {
	exit := x.run.Wait()
	<-x.read
	x.fail(fmt.Errorf("%w: %s", errGone, exit))
	x.run.Close()
	x.pool.over(x)
}

// stop ends the process. It returns at once; no call can be made any more.
func (x *process) stop(why string) {
	x.stopping.Do(func() {
		x.fail(fmt.Errorf("%w: %s", errGone, why))
		x.pool.group.Go(func() { x.run.Stop(x.pool.cfg.StopGrace) })
	})
}

// fail ends all calls, and refuses new ones, with the first cause given.
func (x *process) fail(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure == nil {
		x.failure = cause
	}
	for id, w := range x.calls {
		delete(x.calls, id)
		w.finish(nil, nil, x.failure)
	}
}

func (x *process) ended() bool { return x.cause() != nil }

// cause returns why no call can be made any more, nil while they can.
func (x *process) cause() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failure
}

// write sends one message, which ends with a line break, and says whether any of it went out. The server must take it
// within the write timeout, whoever waits for it: half a line would spoil all that follow.
func (x *process) write(ctx context.Context, message []byte) (sent bool, err error) {
	select {
	case x.writing <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	case <-x.run.Exited():
		return false, errGone
	}
	defer func() { <-x.writing }()
	if err := x.run.In.SetWriteDeadline(time.Now().Add(x.pool.cfg.WriteTimeout)); err != nil {
		return false, err
	}
	n, err := x.run.In.Write(message)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		x.pool.hung(x)
		return n > 0, errNoReader
	}
	return n > 0, err
}

// post sends a message beside calls. Without room in the outbox it is dropped and counted.
func (x *process) post(message []byte) {
	select {
	case x.outbox <- append(message, '\n'):
	default:
		x.pool.dropped.Add(context.Background(), 1) //nolint:forbidigo // a count belongs to no call
	}
}

func (x *process) writeOutbox() {
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

// handshake initializes the server. Until it answers, anything on its standard output is taken for noise.
func (x *process) handshake(ctx context.Context, t *Target) error {
	ctx, cancel := context.WithTimeout(ctx, x.pool.cfg.StartTimeout)
	defer cancel()
	info, err := x.initialize(ctx, t)
	if err == nil {
		x.info = info
		return nil
	}
	words := ""
	if last := x.site.errors.LastLine(t.SecretEnv); last != "" {
		words = "; its last words: " + last
	}
	cause := fmt.Errorf("%w%s", err, words)
	f := fault.From(err)
	switch {
	case f.Reason == upstream.ReasonProtocol:
		return f.Because(cause)
	case x.messages.Load() == 0 && x.junk.Load() > 0:
		return t.garbage(fmt.Sprintf("it wrote %d lines to standard output, none of them a message; logs belong to standard error", x.junk.Load())).
			Because(cause)
	case errors.Is(err, context.DeadlineExceeded):
		return t.unreachable("did not answer within " + x.pool.cfg.StartTimeout.String() + " of its start").Because(cause)
	default:
		return t.unreachable("ended before it was ready").Because(cause)
	}
}
