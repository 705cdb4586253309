// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// every is how often the outbox is looked into: a revocation must reach the nodes within 5 s (RS-12), and replicas share
	// one outbox.
	every = 250 * time.Millisecond
	// batch is how many entries are handed on together; the control plane takes no more.
	batch = 1000
	// publishTimeout of one batch. Afterwards the wait grows up to maxPause.
	publishTimeout = 5 * time.Second
	maxPause       = 5 * time.Second
)

// Publisher hands revocations to a control plane and returns when they are stored there. To hand in an entry twice does
// no harm.
type Publisher interface {
	Publish(ctx context.Context, list []store.Revocation) error
}

// Config is what an Outbox needs. All fields are required.
type Config struct {
	Store     store.OAuth
	Publisher Publisher
	Log       *slog.Logger
}

// Outbox hands revocations on.
type Outbox struct{ c Config }

// New returns an Outbox on its parts.
func New(c Config) (*Outbox, error) {
	if c.Store == nil || c.Publisher == nil || c.Log == nil {
		return nil, errors.New("an outbox needs a store, a publisher and a log")
	}
	return &Outbox{c}, nil
}

// Run hands on what there is until ctx is canceled.
func (o *Outbox) Run(ctx context.Context) error {
	pause, failing := every, false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		more, err := o.flush(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !failing { // once for an outage, however long
				o.c.Log.WarnContext(ctx, "revocations not handed on", obs.AttrError, err.Error())
			}
			pause, failing = min(2*pause, maxPause), true
		default:
			pause, failing = every, false
		}
		if more {
			pause = 0
		}
		timer.Reset(pause)
	}
}

// flush hands one batch on and tells whether there is more.
func (o *Outbox) flush(ctx context.Context) (more bool, err error) {
	list, err := o.c.Store.Outbox(ctx, batch)
	if err != nil || len(list) == 0 {
		return false, err
	}
	bound, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if err := o.c.Publisher.Publish(bound, list); err != nil {
		return false, err
	}
	ids := make([]int64, len(list))
	for i, r := range list {
		ids[i] = r.ID
	}
	err = o.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteOutbox(ctx, ids) })
	return err == nil && len(list) == batch, err
}
