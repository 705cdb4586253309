// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	batchEvents = 500
	batchBytes  = 256 << 10
	// uploadEvery is how long events wait for others before they are handed in, unless there is a batch of them.
	uploadEvery = time.Second
	sendTimeout = 30 * time.Second
	// Waits after a failure: doubled from the first to the last, with jitter.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// upload hands in what the disk keeps, in order, until ctx ends.
func (r *Recorder) upload(ctx context.Context) error {
	retry := firstRetry
	for {
		b, more, err := r.queue.batch(ctx, batchEvents, batchBytes)
		if err != nil {
			r.cfg.Log.ErrorContext(ctx, "audit queue cannot be read", slog.Any(obs.AttrError, err))
		}
		if err == nil && !more {
			if r.hurried() && r.idle() {
				close(r.flushed)
				<-ctx.Done()
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-r.kept:
			}
			if !pause(ctx, uploadEvery, r.hurry) {
				return nil
			}
			continue
		}
		if err == nil {
			err = r.send(ctx, b)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context ended, and with it the work
		}
		if err == nil {
			retry = firstRetry
			r.measure(ctx)
			if r.queue.held() < batchBytes && !pause(ctx, uploadEvery, r.hurry) {
				return nil
			}
			continue
		}
		if !pause(ctx, retry/2+rand.N(retry/2), nil) { //nolint:gosec // jitter
			return nil
		}
		retry = min(2*retry, lastRetry)
	}
}

func (r *Recorder) send(ctx context.Context, b Batch) error {
	sending, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := r.cfg.Sender.SendAudit(sending, b)
	if fault.KindOf(err) == fault.Invalid && err != nil {
		r.lost.Add(int64(len(b.Events)))
		r.cfg.Log.ErrorContext(ctx, "audit events refused by the control plane, and lost", slog.Int("events", len(b.Events)), slog.Any(obs.AttrError, err))
	} else if err != nil {
		if ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "audit events not taken by the control plane", slog.Any(obs.AttrError, err))
		}
		return err
	}
	if err := r.queue.took(b); err != nil {
		r.cfg.Log.WarnContext(ctx, "progress of the audit not noted", slog.Any(obs.AttrError, err))
	}
	return nil
}

// idle reports whether nothing waits anywhere.
func (r *Recorder) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) == 0 && !r.writing && r.queue.empty()
}
