// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// How often keys are fetched.
const (
	refreshEvery = 15 * time.Minute // at most: a key that was taken out of the set is gone then (JW-10)
	retryFirst   = 5 * time.Second  // after a failure, doubled up to the most
	retryMost    = time.Minute
	fetchFloor   = 10 * time.Second // between a fetch and one that an unknown key sets off (JW-8)
	unknownFor   = 60 * time.Second // how long a kid that was not there is taken to be unknown (JW-8)
	maxUnknown   = 1024
	staleFor     = 24 * time.Hour // how long keys count after they were last fetched (JW-7)
	placeFor     = time.Hour      // how long the jwks_uri of a discovery document counts without asking again
)

// ReasonNotLoaded is the reason of an Unavailable fault: there are no keys that still count, so nothing can be said of a token.
const ReasonNotLoaded = "KEY_SET_NOT_LOADED"

// Source says whose keys a [Set] holds and where they are.
type Source struct {
	// Issuer is the issuer identifier, for example "https://idp.example".
	Issuer string
	// URL is that of the key set; empty means the jwks_uri of the issuer's discovery document.
	URL string
}

// Config is what a [Set] needs.
type Config struct {
	Source Source
	// Egress guards what is fetched (CIMD-5).
	Egress egress.Policy
	// RootCAs are the authorities of servers; nil is the system's.
	RootCAs *x509.CertPool
	// Now may be nil, which means time.Now.
	Now func() time.Time
	// Fetched, if set, is told of every renewal, with the error that made it fail. It must be quick.
	Fetched func(ctx context.Context, err error)
	// Last is what Keep was told before, by another process: it counts until it is 24 h old, or other keys are fetched. nil is none.
	Last *Kept
	// Keep, if set, is told of the keys of every renewal that succeeds, one at a time.
	Keep func(ctx context.Context, k Kept)
}

// Set is the key set of one issuer. It is safe for concurrent use.
type Set struct {
	c       Config
	client  *http.Client
	current atomic.Pointer[known]
	poke    chan struct{}
	fetches sync.WaitGroup // one for the flight that runs

	mu      sync.Mutex
	over    bool                 // Run has ended: nothing is fetched any more
	flight  *flight              // that runs; nil for none
	last    time.Time            // when the last fetch began
	unknown map[string]time.Time // kid to when it was not there

	keysAt     string // where the discovery document says that keys are; of the flight that runs
	discovered time.Time
}

// known is the keys as they were fetched.
type known struct {
	keys  []*Key
	at    time.Time
	fresh time.Duration
}

// flight is a fetch, and all who wait for it.
type flight struct {
	done chan struct{} // closed when err is final
	err  error
}

// New returns a set with the keys of Last, if there are some that still count. It fetches nothing until Run or a look-up. It refuses a source that keys must not come from.
func New(c Config) (*Set, error) {
	if err := protected(c.Source.Issuer); err != nil {
		return nil, fault.Newf(fault.Invalid, egress.ReasonURL, "The issuer %s.", err)
	}
	if c.Source.URL != "" {
		if err := protected(c.Source.URL); err != nil {
			return nil, fault.Newf(fault.Invalid, egress.ReasonURL, "The URL of the key set %s.", err)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Set{c: c, client: newClient(c), poke: make(chan struct{}, 1), unknown: make(map[string]time.Time)}
	s.restore(c.Last)
	return s, nil
}

// Run keeps the keys fresh until ctx is canceled, and returns nil then.
func (s *Set) Run(ctx context.Context) error {
	defer func() {
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
		s.fetches.Wait()
	}()
	retry := retryFirst
	for {
		wait := retry
		if err := s.fetch(ctx); err != nil {
			retry = min(2*retry, retryMost)
		} else {
			wait, retry = s.interval(), retryFirst
		}
		timer := time.NewTimer(wait - rand.N(wait/10+1)) //nolint:gosec // jitter: nodes do not ask all at once
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.poke:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Refresh has Run fetch the keys soon: an administrator knows that they changed (JW-10). What was unknown may be there now.
func (s *Set) Refresh() {
	s.mu.Lock()
	clear(s.unknown)
	s.mu.Unlock()
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// interval is how long the keys are fresh, and no longer than a removed one may count (JW-7, JW-10).
func (s *Set) interval() time.Duration {
	if k := s.current.Load(); k != nil {
		return min(k.fresh, refreshEvery)
	}
	return refreshEvery
}

// Key returns the key of a kid that an algorithm's signatures are checked with, nil if there is none. Without a kid it is the
// only key of the set, if it has one only (JW-9). A kid that is not known is asked for, which takes up to 5 s: one fetch at a
// time and in 10 s, whatever the number of kids, and none for a kid that was not there a minute ago (JW-8). It is Unavailable,
// KEY_SET_NOT_LOADED, while there are no keys that still count.
func (s *Set) Key(ctx context.Context, kid, algorithm string) (*Key, error) {
	key, loaded := s.find(kid, algorithm)
	if key != nil || loaded && (kid == "" || len(kid) > maxID) {
		return key, nil
	}
	f := s.lookUp(ctx, kid)
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the key set: %w", ctx.Err())
		}
	}
	key, loaded = s.find(kid, algorithm) // it may have come just now, whoever asked
	switch {
	case !loaded:
		return nil, fault.New(fault.Unavailable, ReasonNotLoaded, "The keys of the identity provider are not known").After(fetchFloor)
	case key == nil && f != nil && f.err == nil:
		s.missing(kid)
	}
	return key, nil
}

// find looks for a key among those that are there; loaded is false if there are none that still count.
func (s *Set) find(kid, algorithm string) (key *Key, loaded bool) {
	k := s.current.Load()
	if k == nil || s.c.Now().Sub(k.at) >= staleFor {
		return nil, false
	}
	if kid == "" {
		if len(k.keys) == 1 && k.keys[0].Fits(algorithm) {
			return k.keys[0], true
		}
		return nil, true
	}
	for _, one := range k.keys {
		if one.ID == kid && one.Fits(algorithm) {
			return one, true
		}
	}
	return nil, true
}

// lookUp returns the fetch that may find the key, nil if none is to be made.
func (s *Set) lookUp(ctx context.Context, kid string) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if at, ok := s.unknown[kid]; ok && now.Sub(at) < unknownFor {
		return nil
	}
	if s.flight != nil {
		return s.flight
	}
	if s.over || now.Sub(s.last) < fetchFloor {
		return nil
	}
	return s.launch(context.WithoutCancel(ctx)) // detached: others wait for it too
}

// missing remembers that the issuer has no key of that kid.
func (s *Set) missing(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if len(s.unknown) >= maxUnknown {
		for old, at := range s.unknown {
			if now.Sub(at) >= unknownFor {
				delete(s.unknown, old)
			}
		}
	}
	if len(s.unknown) < maxUnknown { // else the floor alone protects the issuer
		s.unknown[kid] = now
	}
}

// launch starts a fetch. The caller holds mu.
func (s *Set) launch(ctx context.Context) *flight {
	f := &flight{done: make(chan struct{})}
	s.flight, s.last = f, s.c.Now()
	s.fetches.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		f.err = errors.New("the renewal was given up") // in case of a panic below
		defer func() {
			s.mu.Lock()
			s.flight = nil
			s.mu.Unlock()
			close(f.done)
		}()
		f.err = s.renew(ctx)
	})
	return f
}

// fetch renews the keys, or waits for a fetch that runs.
func (s *Set) fetch(ctx context.Context) error {
	s.mu.Lock()
	f := s.flight
	if f == nil {
		f = s.launch(ctx)
	}
	s.mu.Unlock()
	<-f.done
	return f.err
}

// renew fetches the key set. Whatever goes wrong, the old keys stay (JW-6); a set that is well formed takes their place, even if
// nothing is left in it (JW-10). Only one flight runs it at a time.
func (s *Set) renew(ctx context.Context) error {
	err := s.load(ctx)
	if s.c.Fetched != nil && !errors.Is(ctx.Err(), context.Canceled) { // a process that stops is no failure
		s.c.Fetched(context.WithoutCancel(ctx), err)
	}
	return err
}

func (s *Set) load(ctx context.Context) error {
	from := s.c.Source.URL
	if from == "" {
		var err error
		if from, err = s.place(ctx); err != nil {
			return err
		}
	}
	body, fresh, err := s.get(ctx, from)
	if err != nil {
		s.discovered = time.Time{} // it may have moved
		return fmt.Errorf("fetch the key set: %w", err)
	}
	keys, err := parse(body)
	if err != nil {
		return err
	}
	k := &known{keys: keys, at: s.c.Now(), fresh: fresh}
	s.current.Store(k)
	s.keep(ctx, k)
	return nil
}

// place returns where the issuer's discovery document says that keys are. While it cannot be read, what it said last counts.
func (s *Set) place(ctx context.Context) (string, error) {
	now := s.c.Now()
	if s.keysAt != "" && now.Sub(s.discovered) < placeFor {
		return s.keysAt, nil
	}
	found, err := s.discover(ctx)
	if err != nil {
		if s.keysAt == "" {
			return "", err
		}
		return s.keysAt, nil
	}
	s.keysAt, s.discovered = found, now
	return found, nil
}
