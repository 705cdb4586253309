// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// helloPerCore is how many nodes a second may begin on each core: twice the handshakes of mutual TLS that one does (ADR 5).
	helloPerCore = 200
	maxAge       = 30 * time.Minute // D-41
	ageSpread    = 0.2              // of the age, either way
	leaveSpread  = 5 * time.Second  // over which those leave that are sent away at one moment
	shedEvery    = 5 * time.Second
	shedPart     = 20 // one of so many streams is sent away at a time
	maxEndpoints = 8  // that a Drain names
)

// bucket admits so many streams a second (D-42). One that is too many is asked to come back: it does not wait in a queue,
// so a herd costs no memory.
type bucket struct {
	rate float64 // tokens a second, and the most there are

	mu     sync.Mutex
	tokens float64
	at     time.Time
	owed   float64 // tokens promised to those that were asked to come back
}

func newBucket(rate float64) *bucket {
	rate = cmp.Or(rate, float64(helloPerCore*runtime.GOMAXPROCS(0)))
	return &bucket{rate: rate, tokens: max(1, rate)}
}

// take returns 0, or how long until it is worth trying again: those that are asked to wait are spread over the time that
// admitting all of them takes.
func (b *bucket) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.at.IsZero() {
		got := b.rate * now.Sub(b.at).Seconds()
		b.tokens = min(max(1, b.rate), b.tokens+got)
		b.owed = max(0, b.owed-got)
	}
	b.at = now
	if b.tokens >= 1 {
		b.tokens--
		return 0
	}
	b.owed++
	return minWait + jitter(time.Duration(b.owed/b.rate*float64(time.Second))+minWait)
}

// spread is over how long so many have to begin, that come at one moment, for none of them to be sent away.
func (b *bucket) spread(n int64) time.Duration {
	if float64(n) <= b.rate {
		return 0
	}
	return time.Duration(float64(n) / b.rate * float64(time.Second))
}

// age returns how long a stream may last: all of them a little different, so that they do not end together.
func (s *Server) age() time.Duration {
	return time.Duration((1-ageSpread)*float64(s.maxAge)) + jitter(time.Duration(2*ageSpread*float64(s.maxAge)))
}

// spread is over how long nodes leave when this control plane stops: at once if there is no other that could take them.
func (s *Server) spread() time.Duration {
	if len(s.others.Endpoints()) == 0 {
		return 0
	}
	return s.window
}

// endpoints names where nodes that leave should go.
func (s *Server) endpoints() []string {
	list := s.others.Endpoints()
	return list[:min(len(list), maxEndpoints)]
}

// shed sends nodes away while this control plane has far more than the others, the oldest streams first, a few at a time:
// one that has just started gets its share without a herd (D-41).
func (s *Server) shed(ctx context.Context) {
	tick := time.NewTicker(s.shedEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		surplus := s.others.Surplus()
		if surplus <= 0 || s.isDraining() {
			continue
		}
		list := s.ledger.staying()
		n := min(surplus, (len(list)+shedPart-1)/shedPart)
		for _, st := range list[:min(n, len(list))] {
			st.leaving.Store(true)
			close(st.shed) // only this loop does, and only once: it is not staying any more
		}
		s.log.InfoContext(ctx, "nodes are sent to other control planes", obs.AttrCount, n)
	}
}

// staying returns the streams that were not asked to leave, the oldest first.
func (l *ledger) staying() []*stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []*stream
	for _, e := range l.entries {
		if e.stream != nil && !e.stream.leaving.Load() {
			list = append(list, e.stream)
		}
	}
	slices.SortFunc(list, func(a, b *stream) int { return a.since.Compare(b.since) })
	return list
}
