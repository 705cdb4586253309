// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// broken is a store that cannot be reached.
type broken struct{ Store }

func (broken) Take(context.Context, string, Limit, int) (Grant, error) {
	return Grant{}, errors.New("away")
}

// TestLook: what Allow would find, with and without a store; looking takes nothing.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, limit := Key{Rule: "r", Who: "w"}, Limit{Amount: 2, Period: time.Hour, Burst: 2}
		look := func(step string, l *Limiter, mode Mode, want State) {
			t.Helper()
			for range 3 {
				if got := l.Look(key, limit, mode); got != want {
					t.Fatalf("%s: got %+v, want %+v", step, got, want)
				}
			}
		}
		alone := NewLimiter(Config{})
		look("nothing taken", alone, Open, State{Known: true, Left: 2})
		for i := range 2 {
			if d := alone.Allow(t.Context(), key, limit, Open); !d.OK {
				t.Fatalf("%d: %+v", i, d)
			}
			look("taken", alone, Open, State{Known: true, Left: 1 - i, Retry: time.Duration(i) * 30 * time.Minute})
		}
		if d := alone.Allow(t.Context(), key, limit, Open); d.OK {
			t.Error("three of two")
		}
		time.Sleep(30 * time.Minute) // of the bubble
		look("half an hour later", alone, Open, State{Known: true, Left: 1})

		shared := NewLimiter(Config{Store: NewMemory(0)})
		defer shared.Close()
		look("of the store nothing is known", shared, Closed, State{})
		for range 2 {
			if d := shared.Allow(t.Context(), key, limit, Closed); !d.OK {
				t.Fatalf("%+v", d)
			}
		}
		if d := shared.Allow(t.Context(), key, limit, Closed); d.OK {
			t.Error("three of two")
		}
		if got := shared.Look(key, limit, Closed); !got.Known || got.Left != 0 || got.Retry <= 0 || got.Alone {
			t.Errorf("refused: %+v", got)
		}

		away := NewLimiter(Config{Store: broken{}, Nodes: func() int { return 2 }})
		defer away.Close()
		away.Allow(t.Context(), key, limit, Closed)
		look("closed", away, Closed, State{Known: true, Retry: awayFor, Alone: true})
		look("open: the share of one of two", away, Open, State{Known: true, Left: 1, Alone: true})
	})
}
