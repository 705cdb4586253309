// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

const (
	// batchTexts and batchBytes bound one request for vectors of tools.
	batchTexts = embedding.MaxTexts
	batchBytes = 16 << 10
	// batchTimeout bounds one request for vectors of tools, which nobody waits for.
	batchTimeout = time.Minute
	// firstPause and longestPause are between a request that failed and the next; they grow and vary.
	firstPause   = time.Second
	longestPause = time.Minute
	// triesAlone is how often a text fails alone before searches no longer wait for its vector.
	triesAlone = 3
)

// Run makes the vectors that are wanted, two requests at a time, and forgets those that nobody has any more. It blocks until ctx is
// canceled, and returns nil then.
func (v *Vectors) Run(ctx context.Context) error {
	return run.Group(ctx, //nolint:wrapcheck // none of the tasks fails
		run.Task{Name: "embed tools", Run: v.embed},
		run.Task{Name: "embed more tools", Run: v.embed},
		run.Task{Name: "forget vectors", Run: func(ctx context.Context) error {
			tick := time.NewTicker(sweepEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case now := <-tick.C:
					v.sweep(now)
				}
			}
		}},
	)
}

// embed works off what waits.
func (v *Vectors) embed(ctx context.Context) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstPause, longestPause
	for ctx.Err() == nil {
		batch := v.take()
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
			case <-v.work:
			}
			continue
		}
		err := v.make(ctx, batch)
		if err == nil {
			pauses.Reset()
			continue
		}
		if ctx.Err() == nil && v.told.due() {
			v.c.Log.WarnContext(ctx, "vectors of tools are not made: gateways are searched by words alone until they are", slog.Any(obs.AttrError, err))
		}
		if v.putBack(batch, err) {
			continue // the same texts one by one, at once
		}
		pause := time.NewTimer(pauses.NextBackOff())
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return nil
}

// take returns what to send next: several texts within the bounds of a request, or one that goes alone.
func (v *Vectors) take() (batch []*text) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.waiting) == 0 && len(v.refused) > 0 {
		t := v.refused[0]
		v.refused = v.refused[1:]
		return []*text{t}
	}
	size := 0
	for len(v.waiting) > 0 && len(batch) < batchTexts {
		t := v.waiting[0]
		if len(batch) > 0 && (t.alone || batch[0].alone || size+len(t.content) > batchBytes) {
			break
		}
		v.waiting[0] = nil
		v.waiting = v.waiting[1:]
		batch, size = append(batch, t), size+len(t.content)
	}
	if len(v.waiting)+len(v.refused) > 0 {
		v.wake() // the other task
	}
	return batch
}

// wake tells one of the tasks that something waits.
func (v *Vectors) wake() {
	select {
	case v.work <- struct{}{}:
	default:
	}
}

// make asks for the vectors of a batch.
func (v *Vectors) make(ctx context.Context, batch []*text) error {
	contents := make([]string, len(batch))
	for i, t := range batch {
		contents[i] = t.content
	}
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	vectors, err := v.c.Endpoint.Embed(ctx, contents)
	if err != nil {
		return err //nolint:wrapcheck // logged as it is
	}
	if err := v.fits(vectors[0]); err != nil {
		return err
	}
	for i, t := range batch {
		t.content = ""
		t.vector.Store(&vectors[i])
	}
	return nil
}

// putBack has a batch sent again that failed, and reports whether that may be at once: one text among several may be what the endpoint
// does not take, and goes alone from now on. For one that fails alone searches no longer wait: at once if the endpoint has answered
// others, and if not soon.
func (v *Vectors) putBack(batch []*text, err error) (atOnce bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !aboutTexts(err) {
		v.waiting = append(v.waiting, batch...)
		return false
	}
	for _, t := range batch {
		if !t.alone {
			t.alone = true
			v.waiting = append(v.waiting, t)
			continue
		}
		t.failed++
		t.without.Store(t.failed >= triesAlone || v.numbers.Load() != 0)
		v.refused = append(v.refused, t)
	}
	v.wake()
	return len(batch) > 1
}

// aboutTexts reports whether a failure may be the fault of a text: its length, most likely, for which servers have several answers.
func aboutTexts(err error) bool {
	status := (*embedding.StatusError)(nil)
	if !errors.As(err, &status) {
		return false
	}
	switch status.Code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return true
	}
	return false
}
