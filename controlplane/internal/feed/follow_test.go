// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// bent is a store that goes wrong in the ways a test says.
type bent struct {
	catalog.Store

	mu    sync.Mutex
	mute  bool          // no hints
	err   error         // of Changes
	skip  bool          // Changes leaves its first one out
	other catalog.Store // taken in place of Store: a database restored under the feed
}

func (b *bent) set(fn func(*bent)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fn(b)
}

func (b *bent) store() catalog.Store {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.other != nil {
		return b.other
	}
	return b.Store
}

func (b *bent) Watch(ctx context.Context) (<-chan struct{}, error) {
	if b.mute {
		return make(chan struct{}), nil
	}
	return b.Store.Watch(ctx)
}

func (b *bent) Changes(ctx context.Context, after catalog.Revision, limit int) ([]catalog.Change, error) {
	b.mu.Lock()
	err, skip := b.err, b.skip
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	list, err := b.store().Changes(ctx, after, limit)
	if skip && len(list) > 1 {
		list = list[1:]
	}
	return list, err
}

func (b *bent) Head(ctx context.Context) (catalog.Head, error) { return b.store().Head(ctx) }

func (b *bent) Snapshot(ctx context.Context, yield func(*catalog.Record) error) (catalog.Head, error) {
	return b.store().Snapshot(ctx, yield)
}

func (b *bent) Read(ctx context.Context, fn func(catalog.Head, catalog.Reader) error) error {
	return b.store().Read(ctx, fn)
}

// TestFollowing says what the feed does when the log misbehaves. Time is fake.
func TestFollowing(t *testing.T) {
	tests := []struct {
		name string
		mute bool
		act  func(t *testing.T, b *bent, f *feed.Feed)
	}{
		{"every hint is lost: the poll finds it within 250 ms (failure 15)", true, func(t *testing.T, b *bent, f *feed.Feed) {
			start := time.Now()
			feedtest.AwaitHead(t, f, feedtest.Write(t, b.Store, feedtest.User("a@example.com", "1")))
			if took := time.Since(start); took > 250*time.Millisecond {
				t.Errorf("it took %s", took)
			}
		}},
		{"the store does not answer: read later", false, func(t *testing.T, b *bent, f *feed.Feed) {
			b.set(func(b *bent) { b.err = errors.New("no connection") })
			rev := feedtest.Write(t, b.Store, feedtest.User("a@example.com", "1"))
			time.Sleep(time.Minute)
			if !f.Ready() || f.Head().Revision == rev {
				t.Errorf("ready %t at revision %d", f.Ready(), f.Head().Revision)
			}
			b.set(func(b *bent) { b.err = nil })
			feedtest.AwaitHead(t, f, rev)
		}},
		{"a gap is loaded over (D-7)", true, func(t *testing.T, b *bent, f *feed.Feed) {
			b.set(func(b *bent) { b.skip = true })
			feedtest.Write(t, b.Store, feedtest.User("a@example.com", "1"))
			rev := feedtest.Write(t, b.Store, feedtest.User("b@example.com", "1"))
			time.Sleep(time.Second) // it reads the gap, and loading reads it again
			b.set(func(b *bent) { b.skip = false })
			feedtest.AwaitHead(t, f, rev)
			users := 0
			for range f.Resources(catalog.KindUser) {
				users++
			}
			if users != 3 {
				t.Errorf("%d users, want 3", users)
			}
		}},
		{"the log no longer keeps what is next: loaded anew", false, func(t *testing.T, b *bent, f *feed.Feed) {
			b.set(func(b *bent) { b.err = fault.New(fault.Stale, "REVISION_STALE", "too old") })
			rev := feedtest.Write(t, b.Store, feedtest.User("a@example.com", "1"))
			feedtest.AwaitHead(t, f, rev)
			c, err := f.Class(scope.Scope{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Delta(t.Context(), rev-1, rev); !feed.NeedsSnapshot(err) {
				t.Errorf("delta over what is not kept: %v", err)
			}
			b.set(func(b *bent) { b.err = nil })
		}},
		{"another epoch is loaded (D-73)", false, func(t *testing.T, b *bent, f *feed.Feed) {
			restored := memstore.New(nil)
			feedtest.Write(t, restored, feedtest.User("z@example.com", "1"))
			b.set(func(b *bent) { b.other = restored })
			epoch := f.Head().Epoch
			feedtest.Await(t, f, func() bool { return f.Head().Epoch != epoch })
			if h := f.Head(); h.Revision != 1 || !f.Ready() {
				t.Errorf("at revision %d, ready %t", h.Revision, f.Ready())
			}
		}},
		{"a head that went back freezes (D-72)", false, func(t *testing.T, b *bent, f *feed.Feed) {
			head := f.Head()
			b.set(func(b *bent) { b.other = lost{b.Store, head.Revision - 1} })
			feedtest.Await(t, f, func() bool { return !f.Ready() })
			if f.Head() != head {
				t.Errorf("the head is %v, was %v", f.Head(), head)
			}
			// New commits that reuse the lost numbers are not mistaken for the lost ones.
			b.set(func(b *bent) { b.other = nil })
			feedtest.Write(t, b.Store, feedtest.User("new@example.com", "1"))
			time.Sleep(time.Minute)
			if f.Ready() {
				t.Error("it thawed by itself")
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &bent{Store: memstore.New(nil), mute: tt.mute}
				feedtest.Write(t, b.Store, feedtest.Shop()...)
				feedtest.Write(t, b.Store, feedtest.Gateway("demo", "2"))
				tt.act(t, b, feedtest.Start(t, b))
			})
		})
	}
}

// lost is a database that went back to a revision.
type lost struct {
	catalog.Store
	at catalog.Revision
}

func (l lost) Head(ctx context.Context) (catalog.Head, error) {
	h, err := l.Store.Head(ctx)
	h.Revision = l.at
	return h, err
}

func (l lost) Snapshot(ctx context.Context, yield func(*catalog.Record) error) (catalog.Head, error) {
	h, err := l.Store.Snapshot(ctx, yield)
	h.Revision = l.at
	return h, err
}

func (l lost) Changes(context.Context, catalog.Revision, int) ([]catalog.Change, error) {
	return nil, nil
}

// TestNotReady: nothing is answered before the state is there (D-44), whatever the store says.
func TestNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bent{Store: memstore.New(nil), err: errors.New("no connection")}
		feedtest.Write(t, b.Store, feedtest.Shop()...)
		f := feed.New(feed.Config{Store: b, Log: feedtest.Log()})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(time.Hour)
		if _, err := f.Class(scope.Scope{}); f.Ready() || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("ready %t, class: %v", f.Ready(), err)
		}
		b.set(func(b *bent) { b.err = nil })
		feedtest.Await(t, f, f.Ready)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRing: the ring is bounded, and what left it is a snapshot (D-20).
func TestRing(t *testing.T) {
	for _, cfg := range []feed.Config{{MaxChanges: 4}, {MaxOps: 8}} {
		t.Run(fmt.Sprintf("%d changes, %d ops", cfg.MaxChanges, cfg.MaxOps), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(nil)
				feedtest.Write(t, store, feedtest.Shop()...)
				cfg.Store, cfg.Log = store, feedtest.Log()
				f := feed.New(cfg)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- f.Run(ctx) }()
				feedtest.Await(t, f, f.Ready)
				c, err := f.Class(scope.Scope{})
				if err != nil {
					t.Fatal(err)
				}
				var last catalog.Revision
				body := "first body"
				feedtest.Write(t, store, feedtest.Tool("shop", "buy", body))
				hash := hashOf(t, f, body, c)
				for i := range 6 {
					last = feedtest.Write(t, store, feedtest.Tool("shop", "buy", fmt.Sprint("body ", i)), feedtest.User("u@example.com", fmt.Sprint(i)))
					feedtest.AwaitHead(t, f, last)
					if i == 0 && !c.HoldsBlob(hash) {
						t.Error("a body that just left is not given to a node whose snapshot is a little older")
					}
				}
				if d, err := c.Delta(t.Context(), last-4, last); err != nil || len(d.Frames) != 1 {
					t.Errorf("within the ring: %v", err)
				}
				if _, err := c.Delta(t.Context(), last-5, last); !feed.NeedsSnapshot(err) {
					t.Errorf("beyond the ring: %v", err)
				}
				if _, err := c.Delta(t.Context(), last+1, last+1); !feed.NeedsSnapshot(err) {
					t.Errorf("beyond the head: %v", err)
				}
				if c.HoldsBlob(hash) {
					t.Error("a body that left the ring is still given out")
				}
				if !c.Affects(last-5, last) {
					t.Error("what is beyond the ring counts as not affecting")
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// hashOf waits until the class needs a body and returns its hash.
func hashOf(t *testing.T, f *feed.Feed, body string, c *feed.Class) catalog.Hash {
	t.Helper()
	h := catalog.Hash(sha256.Sum256([]byte(body)))
	feedtest.Await(t, f, func() bool { return c.HoldsBlob(h) })
	return h
}
