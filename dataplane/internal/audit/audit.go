// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// ReasonFull is the reason of [Recorder.Admit]'s fault.
const ReasonFull = "AUDIT_QUEUE_FULL"

const (
	// linger is how long an event waits for others before all are written: what is lost when the process is killed.
	linger = 5 * time.Millisecond
	// syncEvery is how often the disk is asked to keep what was written: what is lost when the machine stops.
	syncEvery = 100 * time.Millisecond
	// memory bounds the events that wait to be written.
	memory = 1 << 15
	// retryWrite is how long a disk that fails is left alone.
	retryWrite = time.Second
	// retryFull is what callers are told to wait.
	retryFull = 5 * time.Second
)

// Full says what happens to calls while the queue is full.
type Full string

// What a full queue does.
const (
	// Drop lets calls run, and counts the events that are lost.
	Drop Full = "drop"
	// Block refuses calls of tools.
	Block Full = "block"
)

// Sender hands events to the control plane. After an error the batch is handed in again, unless the fault is Invalid: then nothing
// would change that it is not taken.
type Sender interface {
	SendAudit(ctx context.Context, b Batch) error
}

// Config is what a [Recorder] needs.
type Config struct {
	Dir      string // folder of the queue
	MaxBytes int64  // most that waits for the control plane
	Full     Full
	File     string // of JSON lines; empty for none
	FileSize int64  // at which it is rotated
	Node     string // name of this node, for the file
	Sender   Sender
	Log      *slog.Logger
	Meter    metric.Meter
}

// taken is an event that was taken, and how many before it were not.
type taken struct {
	call.AuditEvent

	dropped uint64
}

// Recorder takes the events of calls. Make it with [Open]; [Recorder.Run] does the work. It is safe for concurrent use.
type Recorder struct {
	cfg   Config
	queue *queue
	lines *lines // nil: none

	full   atomic.Bool
	lost   atomic.Int64 // events that were not recorded
	failed atomic.Bool  // the disk does not take events

	mu      sync.Mutex
	pending []taken
	writing bool   // the writer has events that the queue has not
	dropped uint64 // since the last event that was taken

	spare   []taken // the writer's
	buffer  []byte
	encoder encoder

	wake    chan struct{} // there is something to write
	written chan struct{} // there is something to sync
	kept    chan struct{} // there is something to upload
	hurry   chan struct{} // closed when everything is to be handed in at once
	once    sync.Once
	flushed chan struct{} // closed when nothing is left then
}

// Open opens the queue, with what an earlier process left in it. It starts nothing.
func Open(ctx context.Context, c Config) (*Recorder, error) {
	q, err := openQueue(ctx, c.Dir, c.Log)
	if err != nil {
		return nil, err
	}
	r := &Recorder{
		cfg: c, queue: q, wake: make(chan struct{}, 1), written: make(chan struct{}, 1), kept: make(chan struct{}, 1),
		hurry: make(chan struct{}), flushed: make(chan struct{}),
	}
	if c.File != "" {
		r.lines, err = openLines(c.File, c.FileSize)
	}
	if err == nil {
		_, err = c.Meter.Int64ObservableCounter(obs.MetricAuditDropped, metric.WithUnit("{event}"),
			metric.WithDescription("Events of tool calls that were not recorded, because the queue was full or they could not be taken."),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(r.lost.Load()); return nil }))
	}
	if err == nil {
		_, err = c.Meter.Int64ObservableGauge(obs.MetricAuditQueue, metric.WithUnit("By"),
			metric.WithDescription("Events of tool calls that the control plane has not."),
			metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error { o.Observe(q.held()); return nil }))
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.full.Store(q.held() >= c.MaxBytes)
	return r, nil
}

// Close closes the files, after Run has returned.
func (r *Recorder) Close() error {
	err := r.queue.close()
	if r.lines != nil {
		err = errors.Join(err, r.lines.close())
	}
	return err
}

// Admit is Unavailable, AUDIT_QUEUE_FULL, while the queue is full and that blocks calls.
func (r *Recorder) Admit() error {
	if r.cfg.Full != Block || !r.full.Load() {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonFull,
		"This node cannot record calls at the moment, and runs none that it could not record.").After(retryFull)
}

// Record takes an event. While the queue is full it drops it, but for that of a call that ran and was let in: those are as many as
// there are calls in flight.
func (r *Recorder) Record(e call.AuditEvent) {
	full := r.full.Load() && (r.cfg.Full == Drop || e.Outcome == call.OutcomeRefused)
	r.mu.Lock()
	first := len(r.pending) == 0
	switch {
	case full || len(r.pending) >= memory:
		r.dropped++
		r.mu.Unlock()
		r.lost.Add(1)
		return
	case len(r.pending) == memory/2: // the disk does not keep up
		r.full.Store(true)
	}
	r.pending = append(r.pending, taken{e, r.dropped})
	r.dropped = 0
	r.mu.Unlock()
	if first {
		signal(r.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes, syncs and hands in events until ctx ends; then it writes and syncs what it has.
func (r *Recorder) Run(ctx context.Context) error {
	err := run.Group(ctx,
		run.Task{Name: "audit writer", Run: r.write},
		run.Task{Name: "audit sync", Run: r.sync},
		run.Task{Name: "audit upload", Run: r.upload},
	)
	if r.drain(ctx) { // what the disk did not take before, then the rest
		r.drain(ctx)
	}
	if _, broken := r.queue.sync(); broken != nil {
		err = errors.Join(err, broken)
	}
	return err
}

// Flush hands in everything now, and returns when the control plane has it or ctx ends: what it has not stays in the queue. No event
// comes any more.
func (r *Recorder) Flush(ctx context.Context) {
	r.once.Do(func() { close(r.hurry) })
	signal(r.wake)
	select {
	case <-r.flushed:
	case <-ctx.Done():
	}
}

func (r *Recorder) write(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		if !pause(ctx, linger, r.hurry) {
			return nil
		}
		for !r.drain(ctx) {
			if !pause(ctx, retryWrite, nil) {
				return nil
			}
		}
		signal(r.written)
	}
}

// pause waits, less if hurry is closed; false means that ctx has ended.
func pause(ctx context.Context, d time.Duration, hurry <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-hurry:
	case <-t.C:
	}
	return true
}

// drain writes what was taken; false if the disk did not take it, which then waits in the buffer.
func (r *Recorder) drain(ctx context.Context) bool {
	if len(r.buffer) == 0 {
		r.mu.Lock()
		r.pending, r.spare = r.spare[:0], r.pending
		r.writing = true
		r.mu.Unlock()
		r.encode(ctx)
	}
	if len(r.buffer) > 0 {
		if err := r.queue.add(r.buffer); err != nil {
			if !r.failed.Swap(true) {
				r.cfg.Log.ErrorContext(ctx, "audit events cannot be written", slog.Any(obs.AttrError, err))
			}
			r.full.Store(true)
			return false
		}
		r.buffer = r.buffer[:0]
	}
	r.mu.Lock()
	r.writing = false
	r.mu.Unlock()
	if r.failed.Swap(false) {
		r.cfg.Log.InfoContext(ctx, "audit events are written again")
	}
	r.measure(ctx)
	return true
}

// encode makes records of what was taken, and lines.
func (r *Recorder) encode(ctx context.Context) {
	var text []byte
	for i := range r.spare {
		e := &r.spare[i]
		var err error
		if r.buffer, err = r.encoder.appendTo(r.buffer, e); err != nil { // of text that is no UTF-8: none should come here
			r.cfg.Log.ErrorContext(ctx, "audit event cannot be encoded", slog.Any(obs.AttrError, err))
			r.lost.Add(1)
			continue
		}
		if r.lines == nil {
			continue
		}
		if text, err = r.encoder.appendLine(text, e, r.cfg.Node); err != nil {
			r.cfg.Log.ErrorContext(ctx, "audit event is no line", slog.Any(obs.AttrError, err))
		}
	}
	clear(r.spare) // it holds on to snapshots
	if len(text) > 0 {
		if err := r.lines.add(text); err != nil {
			r.cfg.Log.ErrorContext(ctx, "audit file not written", slog.Any(obs.AttrError, err))
		}
	}
}

// measure finds out whether the queue is full.
func (r *Recorder) measure(ctx context.Context) {
	r.mu.Lock()
	waiting := len(r.pending)
	r.mu.Unlock()
	full := r.queue.held() >= r.cfg.MaxBytes || waiting >= memory/2 || r.failed.Load()
	if was := r.full.Swap(full); full && !was {
		r.cfg.Log.ErrorContext(ctx, "audit queue is full", slog.String("then", string(r.cfg.Full)))
	} else if was && !full {
		r.cfg.Log.InfoContext(ctx, "audit queue has room again")
	}
}

func (r *Recorder) sync(ctx context.Context) error {
	broken := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.written:
		}
		more, err := r.queue.sync()
		if err != nil && !broken {
			r.cfg.Log.ErrorContext(ctx, "audit events cannot be kept", slog.Any(obs.AttrError, err))
		}
		if broken = err != nil; broken {
			signal(r.written) // once more
		}
		if more || r.hurried() {
			signal(r.kept)
		}
		if !pause(ctx, syncEvery, r.hurry) {
			return nil
		}
	}
}

func (r *Recorder) hurried() bool {
	select {
	case <-r.hurry:
		return true
	default:
		return false
	}
}
