// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	refreshEvery  = 60 * time.Second
	retryEvery    = time.Second      // as long as there is nothing at all
	fetchFloor    = 10 * time.Second // between fetches that unknown keys set off (as JW-8)
	unknownFor    = 60 * time.Second // how long a kid that was not there is taken to be unknown
	maxUnknown    = 1024
	lookUpTimeout = 3 * time.Second // a call waits for it
	maxKid        = 64              // a SHA-256 thumbprint has 43 characters (KM-1)
)

// Source returns the authserver's documents.
type Source func(ctx context.Context) (Document, error)

// Config is what a Keeper needs.
type Config struct {
	Source Source
	// File is where the last known good is kept; empty keeps it in memory only.
	File string
	Log  *slog.Logger
	// Now may be nil, which means time.Now.
	Now func() time.Time
}

// Keeper keeps the documents of one authserver. It is safe for concurrent use.
type Keeper struct {
	c       Config
	current atomic.Pointer[known]
	poke    chan struct{}

	fetches sync.WaitGroup // one for the flight that runs
	failing atomic.Bool    // the last fetch found nothing usable

	mu      sync.Mutex
	flight  *flight              // that runs; nil for none
	last    time.Time            // when the last one began that an unknown key set off
	unknown map[string]time.Time // kid to when it was not there
}

// known is a document that was read.
type known struct {
	Document
	keys map[string]*ecdsa.PublicKey
}

// flight is a fetch, and all who wait for it.
type flight struct {
	done chan struct{} // closed when ok is final
	ok   bool          // the documents are those of now
}

// New returns a keeper of what the file holds. It fetches nothing until Run; a damaged file counts as none.
func New(c Config) (*Keeper, error) {
	if c.Source == nil || c.Log == nil {
		return nil, errors.New("the keeper of the issuer needs a source and a logger")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	k := &Keeper{c: c, poke: make(chan struct{}, 1), unknown: make(map[string]time.Time)}
	if c.File == "" {
		return k, nil
	}
	switch d, err := load(c.File); {
	case err != nil:
		c.Log.Warn("last known good issuer not read", obs.AttrPath, c.File, obs.AttrError, err.Error())
	case d != nil:
		if err := k.take(*d); err != nil {
			c.Log.Warn("last known good issuer not used", obs.AttrPath, c.File, obs.AttrError, err.Error())
		}
	}
	return k, nil
}

// Run keeps the documents fresh until ctx is canceled, and returns nil then.
func (k *Keeper) Run(ctx context.Context) error {
	defer k.fetches.Wait()
	for {
		k.fetch(ctx)
		wait := refreshEvery
		if k.current.Load() == nil {
			wait = retryEvery
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-k.poke:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Refresh has Run look anew soon: a signing key was revoked, and another one signs from now on.
func (k *Keeper) Refresh() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// Issuer returns the issuer identifier, empty as long as it is not known.
func (k *Keeper) Issuer() string {
	if d := k.current.Load(); d != nil {
		return d.Issuer
	}
	return ""
}

// Metadata returns the authserver's metadata, byte for byte; nil as long as it is not known.
func (k *Keeper) Metadata() []byte {
	if d := k.current.Load(); d != nil {
		return d.Metadata
	}
	return nil
}

// Key returns the public key of a kid, nil if there is none. A kid that is not known is asked for, which takes up to 3 s:
// one fetch at a time and in 10 s, whatever the number of kids, and none for a kid that was not there a minute ago.
func (k *Keeper) Key(ctx context.Context, kid string) *ecdsa.PublicKey {
	if key := k.known(kid); key != nil || len(kid) > maxKid {
		return key
	}
	f := k.lookUp(ctx, kid)
	if f == nil {
		return k.known(kid) // it may have come just now
	}
	wait := time.NewTimer(lookUpTimeout)
	defer wait.Stop()
	select {
	case <-f.done:
		key := k.known(kid)
		if key == nil && f.ok {
			k.missing(kid)
		}
		return key
	case <-wait.C:
	case <-ctx.Done():
	}
	return nil
}

func (k *Keeper) known(kid string) *ecdsa.PublicKey {
	if d := k.current.Load(); d != nil {
		return d.keys[kid]
	}
	return nil
}

// lookUp returns the fetch that may find the key, nil if none is to be made.
func (k *Keeper) lookUp(ctx context.Context, kid string) *flight {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.c.Now()
	if at, ok := k.unknown[kid]; ok && now.Sub(at) < unknownFor {
		return nil
	}
	if k.flight != nil {
		return k.flight
	}
	if now.Sub(k.last) < fetchFloor {
		return nil
	}
	k.last = now
	return k.launch(context.WithoutCancel(ctx)) // detached: others wait for it too
}

// missing remembers that the authserver has no key of that kid.
func (k *Keeper) missing(kid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.c.Now()
	if len(k.unknown) >= maxUnknown {
		for old, at := range k.unknown {
			if now.Sub(at) >= unknownFor {
				delete(k.unknown, old)
			}
		}
	}
	if len(k.unknown) < maxUnknown { // else the floor alone protects the authserver
		k.unknown[kid] = now
	}
}

// launch starts a fetch. The caller holds mu.
func (k *Keeper) launch(ctx context.Context) *flight {
	f := &flight{done: make(chan struct{})}
	k.flight = f
	k.fetches.Go(func() {
		f.ok = k.renew(ctx)
		k.mu.Lock()
		k.flight = nil
		k.mu.Unlock()
		close(f.done)
	})
	return f
}

// fetch renews the documents, or waits for a fetch that runs.
func (k *Keeper) fetch(ctx context.Context) {
	k.mu.Lock()
	f := k.flight
	if f == nil {
		f = k.launch(ctx)
	}
	k.mu.Unlock()
	<-f.done
}

// renew asks for the documents and takes them, and reports whether it has those of now. Whatever goes wrong, the old ones
// stay.
func (k *Keeper) renew(ctx context.Context) bool {
	d, err := k.c.Source(ctx)
	old := k.current.Load()
	if err == nil && (old == nil || !old.equal(&d)) {
		err = k.take(d)
	}
	if err != nil {
		if !k.failing.Swap(true) && ctx.Err() == nil { // told once: it may last
			k.c.Log.WarnContext(ctx, "issuer not renewed", obs.AttrError, err.Error())
		}
		return false
	}
	if k.failing.Swap(false) {
		k.c.Log.InfoContext(ctx, "issuer renewed")
	}
	if old != nil && old.equal(&d) {
		return true
	}
	if old != nil && old.Issuer != d.Issuer {
		k.c.Log.WarnContext(ctx, "issuer changed", slog.String("issuer", d.Issuer))
	}
	if k.c.File == "" {
		return true
	}
	if err := save(k.c.File, &d); err != nil {
		k.c.Log.ErrorContext(ctx, "last known good issuer not written", obs.AttrPath, k.c.File, obs.AttrError, err.Error())
	}
	return true
}

// take makes a document the current one.
func (k *Keeper) take(d Document) error {
	keys, err := d.read()
	if err != nil {
		return fmt.Errorf("read the issuer's documents: %w", err)
	}
	k.current.Store(&known{Document: d, keys: keys})
	return nil
}
