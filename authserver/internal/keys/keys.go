// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// DefaultRotate is how long a key signs (KM-6).
	DefaultRotate = 90 * 24 * time.Hour
	// MinLead is how long a key is published before it may sign: the longest that anybody caches a key set (KM-1).
	MinLead = time.Hour

	// poll is the time between two rounds of Run. A change by another process is known within it: after an emergency, tokens
	// must be signed with another key as soon as nodes drop the revoked one (KM-3).
	poll = 2 * time.Second
)

// Reasons of the faults of this room.
const (
	// ReasonNotReady: no key is loaded that could sign (Unavailable).
	ReasonNotReady = "SIGNING_KEY_NOT_READY"
	// ReasonTooNew: the next key is not published for long enough to sign; Retry says how long that takes (Precondition).
	ReasonTooNew = "SIGNING_KEY_TOO_NEW"
	// ReasonMissing: there is no such key, or it is revoked already (NotFound).
	ReasonMissing = "SIGNING_KEY_MISSING"
	// ReasonUnverified: the token is not one of ours (Invalid).
	ReasonUnverified = "TOKEN_NOT_VERIFIED"
)

// Sealer seals private keys; it is the vault.
type Sealer interface {
	SealRow(ctx context.Context, table, row, column string, plain []byte) (keyID string, sealed []byte, err error)
	OpenRow(ctx context.Context, table, row, column, keyID string, sealed []byte) ([]byte, error)
}

// Config is what Keys need.
type Config struct {
	Store store.OAuth
	Vault Sealer
	// Rotate is how long a key signs, [DefaultRotate] if zero, at least two hours.
	Rotate time.Duration
	// Retain is how long after it last signed a key is needed: the longest lifetime of a token and the clock skew that is
	// allowed for. It is required.
	Retain time.Duration
	Log    *slog.Logger
	Now    func() time.Time // time.Now if nil
}

// Keys are the signing keys of the deployment. It is safe for concurrent use.
type Keys struct {
	c    Config
	ring atomic.Pointer[ring] // nil until Start
}

// New returns keys without reading or making any: see [Keys.Start].
func New(c Config) (*Keys, error) {
	if c.Rotate == 0 {
		c.Rotate = DefaultRotate
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Store == nil || c.Vault == nil || c.Log == nil:
		return nil, errors.New("signing keys need a store, a vault and a log")
	case c.Rotate < 2*MinLead:
		return nil, errors.New("a signing key must be used for two hours at least")
	case c.Retain <= 0:
		return nil, errors.New("signing keys need the longest lifetime of a token")
	}
	return &Keys{c: c}, nil
}

// Start makes the first key if there is none, and loads what there is. The server does not start without: a private key
// that does not open is an error (SE-3).
func (k *Keys) Start(ctx context.Context) error {
	if err := k.upkeep(ctx); err != nil {
		return err
	}
	return k.load(ctx)
}

// Run keeps the keys in order until ctx ends: it rotates them when their time has come, and takes up what other processes
// changed. It returns nil.
func (k *Keys) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if err := k.Start(ctx); err != nil && ctx.Err() == nil {
			k.c.Log.WarnContext(ctx, "upkeep of signing keys failed", obs.AttrError, err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Check returns Unavailable, SIGNING_KEY_NOT_READY, while nothing can be signed; it is meant for readiness.
func (k *Keys) Check() error {
	if k.ring.Load() == nil {
		return notReady()
	}
	return nil
}

func notReady() error {
	return fault.New(fault.Unavailable, ReasonNotReady, "The signing keys are not loaded.")
}
