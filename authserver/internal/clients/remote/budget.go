// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Budgets of requests (CIMD-6, CIMD-8). A URL that has been good before has its own budget only: nobody can spend it by
// asking for other documents of the same host.
const (
	perURL        = 5  // a minute, and at once
	perHost       = 30 // a minute, and at once
	atOncePerHost = 4
	atOnce        = 256  // of URLs that were never good
	maxTracked    = 4096 // URLs, and hosts
)

// ReasonBudget is the reason of the fault of a request that is not made: Exhausted, with the time to wait.
const ReasonBudget = "FETCH_BUDGET_SPENT"

func spent(wait time.Duration) error {
	return fault.New(fault.Exhausted, ReasonBudget, "Too many documents are being fetched. Try again soon.").After(wait)
}

// budget counts requests. It is safe for concurrent use.
type budget struct {
	now   func() time.Time
	slots chan struct{}

	mu    sync.Mutex
	urls  *lru[*rate.Limiter]
	hosts *lru[*host]
}

type host struct {
	limiter *rate.Limiter
	slots   chan struct{}
}

func newBudget(now func() time.Time) *budget {
	return &budget{now: now, slots: make(chan struct{}, atOnce), urls: newLRU[*rate.Limiter](maxTracked), hosts: newLRU[*host](maxTracked)}
}

func perMinute(n int) *rate.Limiter {
	return rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), n)
}

// spend takes one request of a URL and, unless it is known, of its host. It returns the host, whose slot is taken next.
func (b *budget) spend(url, name string, known bool) (*host, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h, ok := b.hosts.get(name)
	if !ok {
		h = &host{limiter: perMinute(perHost), slots: make(chan struct{}, atOncePerHost)}
		b.hosts.put(name, h)
	}
	u, ok := b.urls.get(url)
	if !ok {
		u = perMinute(perURL)
		b.urls.put(url, u)
	}
	now := b.now()
	if u.TokensAt(now) < 1 {
		return nil, spent(time.Minute / perURL)
	}
	if !known && !h.limiter.AllowN(now, 1) {
		return nil, spent(time.Minute / perHost)
	}
	u.AllowN(now, 1)
	return h, nil
}

// enter waits for a slot of the host and, unless the URL is known, one of all, and returns what frees them. Many slow hosts
// of a stranger so keep nobody from clients that are in use.
func (b *budget) enter(ctx context.Context, h *host, known bool) (func(), error) {
	if err := take(ctx, h.slots); err != nil {
		return nil, err
	}
	if known {
		return func() { <-h.slots }, nil
	}
	if err := take(ctx, b.slots); err != nil {
		<-h.slots
		return nil, err
	}
	return func() { <-b.slots; <-h.slots }, nil
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return spent(time.Second)
	}
}
