// SPDX-License-Identifier: Apache-2.0

package lifetime_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/lifetime"
)

type key struct{}

var errWhy = errors.New("why")

// TestLikeTheLibrary: whoever waits at whatever moment sees what a context of the library shows.
func TestLikeTheLibrary(t *testing.T) {
	for name, end := range map[string]func(cancel context.CancelCauseFunc, parent context.CancelCauseFunc){
		"not at all":              func(_, _ context.CancelCauseFunc) {},
		"without a cause":         func(cancel, _ context.CancelCauseFunc) { cancel(nil) },
		"with a cause":            func(cancel, _ context.CancelCauseFunc) { cancel(errWhy) },
		"twice":                   func(cancel, _ context.CancelCauseFunc) { cancel(nil); cancel(errWhy) },
		"twice, the cause first":  func(cancel, _ context.CancelCauseFunc) { cancel(errWhy); cancel(nil) },
		"by its parent":           func(_, parent context.CancelCauseFunc) { parent(errWhy) },
		"by its parent, then":     func(cancel, parent context.CancelCauseFunc) { parent(nil); cancel(errWhy) },
		"before its parent":       func(cancel, parent context.CancelCauseFunc) { cancel(errWhy); parent(nil) },
		"quietly, then by parent": func(cancel, parent context.CancelCauseFunc) { cancel(nil); parent(errWhy) },
	} {
		for _, early := range []bool{true, false} {
			see := func(ctx context.Context, cancel, parent context.CancelCauseFunc) (got [6]any) {
				if !early {
					end(cancel, parent)
				}
				_ = ctx.Done()
				under, stop := context.WithCancel(ctx)
				defer stop()
				if early {
					end(cancel, parent)
				}
				got[0], got[1], got[2], got[3] = ctx.Err(), context.Cause(ctx), under.Err(), context.Cause(under)
				select {
				case <-ctx.Done():
					got[4] = true
				default:
				}
				got[5] = ctx.Value(key{})
				return got
			}
			base := context.WithValue(t.Context(), key{}, "value")
			parent, stop := context.WithCancelCause(base)
			theirs, cancel := context.WithCancelCause(parent)
			want := see(theirs, cancel, stop)
			parent, stop = context.WithCancelCause(base)
			l := lifetime.New(parent)
			if got := see(l, l.Cancel, stop); got != want {
				t.Errorf("%s, waited for before: %v: %v, want %v", name, early, got, want)
			}
		}
	}
}

// TestRest: a deadline is the parent's, what comes after the end is told at once, and nothing is made for who does not wait.
func TestRest(t *testing.T) {
	until := time.Now().Add(time.Hour)
	parent, stop := context.WithDeadline(t.Context(), until)
	defer stop()
	l := lifetime.New(parent)
	if at, ok := l.Deadline(); !ok || !at.Equal(until) {
		t.Errorf("deadline %v, %v", at, ok)
	}
	l.Cancel(errWhy)
	ran := make(chan struct{})
	context.AfterFunc(l, func() { close(ran) })
	<-ran
	if n := testing.AllocsPerRun(100, func() {
		one := lifetime.New(parent)
		if one.Err() != nil || one.Value(key{}) != nil {
			t.Error("it has ended, or a value")
		}
		one.Cancel(nil)
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestAtOnce is for the race detector: waits, looks and ends from several goroutines.
func TestAtOnce(t *testing.T) {
	for range 100 {
		l := lifetime.New(t.Context())
		var all sync.WaitGroup
		for _, f := range []func(){func() { <-l.Done() }, func() { l.Cancel(errWhy) }, func() { _ = l.Err() }, func() { _ = context.Cause(l) }} {
			all.Go(f)
		}
		all.Wait()
		if !errors.Is(context.Cause(l), errWhy) {
			t.Fatalf("cause %v", context.Cause(l))
		}
	}
}
