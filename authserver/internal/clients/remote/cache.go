// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// Config is what a [Cache] needs.
type Config[T any] struct {
	// Parse makes what is kept of a document. It is called once for each fetch; url is the one asked for.
	Parse func(url string, body []byte) (T, error)
	// MaxBytes bounds a document, as it is read (CIMD-4).
	MaxBytes int
	// MaxEntries bounds the cache; the document that was used longest ago makes room.
	MaxEntries int
	// RootCAs are the authorities of servers; nil is the system's.
	RootCAs *x509.CertPool
	Now     func() time.Time
	// Fetched, if set, is told of every request that was made, with the error that refused the document.
	Fetched func(ctx context.Context, url string, err error)
}

// Cache holds documents by their URL. It is safe for concurrent use.
type Cache[T any] struct {
	config Config[T]
	budget *budget

	mu      sync.Mutex
	entries *lru[*entry[T]]
	flights map[string]*flight[T]
}

type entry[T any] struct {
	value    T
	got, end time.Time
}

// flight is a request that is being made, and that others wait for.
type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// New returns an empty cache.
func New[T any](c Config[T]) (*Cache[T], error) {
	if c.Parse == nil || c.Now == nil || c.MaxBytes <= 0 || c.MaxEntries <= 0 {
		return nil, errors.New("a cache of documents needs a parser, a clock and bounds")
	}
	return &Cache[T]{
		config: c, budget: newBudget(c.Now), entries: newLRU[*entry[T]](c.MaxEntries), flights: make(map[string]*flight[T]),
	}, nil
}

// Request is what is asked of a [Cache].
type Request struct {
	URL    *url.URL // checked by the policy
	Policy egress.Policy
	// Stale takes a document that was good in the last 24 h if none can be had now (CIMD-7). One that can be had and is not
	// valid is not replaced so.
	Stale bool
	// Younger refuses kept documents that were fetched before this time: what they say is not enough.
	Younger time.Time
}

// errInvalid is inside the error of a document that was had and cannot be used.
var errInvalid = errors.New("the document is not valid")

// Get returns the document of a URL, from the cache or fetched. Errors are never kept. They are [ReasonBudget] and what went
// wrong, which is for logs: it may repeat what a server said.
func (c *Cache[T]) Get(ctx context.Context, r Request) (T, error) {
	key := r.URL.String()
	now := c.config.Now()
	c.mu.Lock()
	kept, ok := c.entries.get(key)
	if ok && now.Before(kept.end) && kept.got.After(r.Younger) {
		c.mu.Unlock()
		return kept.value, nil
	}
	f, flying := c.flights[key]
	if !flying {
		f = &flight[T]{done: make(chan struct{})}
		c.flights[key] = f
	}
	c.mu.Unlock()
	if flying {
		select {
		case <-f.done:
		case <-ctx.Done():
			var zero T
			return zero, fmt.Errorf("wait for the document: %w", ctx.Err())
		}
	} else if c.fly(ctx, r, key, ok, f) && c.config.Fetched != nil {
		c.config.Fetched(context.WithoutCancel(ctx), key, f.err) // what was done is told, also if nobody waits for it
	}
	if f.err != nil && r.Stale && ok && !errors.Is(f.err, errInvalid) && now.Before(kept.end.Add(maxStale)) {
		return kept.value, nil
	}
	return f.value, f.err
}

// fly makes the request of a flight, and tells whether it left the process. It ends in time whatever becomes of the caller,
// because others wait for it.
func (c *Cache[T]) fly(ctx context.Context, r Request, key string, known bool, f *flight[T]) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), totalTimeout)
	defer cancel()
	var fresh time.Duration
	f.err = errors.New("the request was given up") // in case of a panic below
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		switch {
		case f.err == nil:
			now := c.config.Now()
			c.entries.put(key, &entry[T]{value: f.value, got: now, end: now.Add(fresh)})
		case errors.Is(f.err, errInvalid):
			c.entries.drop(key)
		}
		close(f.done)
	}()
	h, err := c.budget.spend(key, strings.ToLower(r.URL.Hostname()), known)
	if err != nil {
		f.err = err
		return false
	}
	leave, err := c.budget.enter(ctx, h, known)
	if err != nil {
		f.err = err
		return false
	}
	defer leave()
	f.value, fresh, f.err = c.load(ctx, r, key)
	return true
}

func (c *Cache[T]) load(ctx context.Context, r Request, key string) (T, time.Duration, error) {
	var zero T
	body, fresh, err := c.fetch(ctx, r.URL, r.Policy)
	if err != nil {
		return zero, 0, err
	}
	value, err := c.config.Parse(key, body)
	if err != nil {
		return zero, 0, fmt.Errorf("%w: %w", errInvalid, err)
	}
	return value, fresh, nil
}
