// SPDX-License-Identifier: Apache-2.0

package vigil_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/vigil"
	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// TestKeep: each thing that ends a stream, why and when.
func TestKeep(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name    string
		left    []time.Duration // as Left answers, the last one for good
		on      []bool          // as Renew answers, the last one for good
		healthy time.Duration   // how long Beat says yes
		after   time.Duration   // when do is done
		do      func(cancel, gone, drain func(), h *view.Holder)
		want    vigil.Reason
		from    time.Duration // earliest and
		to      time.Duration // latest end
		renews  int
	}{
		{"the context ends", []time.Duration{day}, []bool{true}, day, time.Second, func(cancel, _, _ func(), _ *view.Holder) { cancel() }, vigil.Gone, time.Second, time.Second, 0},
		{"the reader has gone", []time.Duration{day}, []bool{true}, day, time.Second, func(_, gone, _ func(), _ *view.Holder) { gone() }, vigil.Gone, time.Second, time.Second, 0},
		{"drain", []time.Duration{day}, []bool{true}, day, time.Second, func(_, _, drain func(), _ *view.Holder) { drain() }, vigil.Draining, time.Second, time.Second, 0},
		{"time is over", []time.Duration{time.Minute}, []bool{false}, day, day, nil, vigil.Over, time.Minute, time.Minute, 1},
		{"time is prolonged", []time.Duration{time.Minute, 2 * time.Minute}, []bool{true, false}, day, day, nil, vigil.Over, 3 * time.Minute, 3 * time.Minute, 2},
		{"the view takes it away", []time.Duration{day}, []bool{false}, day, time.Second, func(_, _, _ func(), h *view.Holder) { h.Publish(&view.View{Revision: 2}) }, vigil.Over, time.Second, 1250 * time.Millisecond, 1},
		{"many changes are one look", []time.Duration{time.Minute, time.Minute}, []bool{true, false}, day, time.Second, func(_, _, _ func(), h *view.Holder) {
			for n := range uint64(5) {
				h.Publish(&view.View{Revision: 2 + n})
			}
		}, vigil.Over, 61 * time.Second, 61250 * time.Millisecond, 2},
		{"the node is not well", []time.Duration{day}, []bool{true}, time.Minute, day, nil, vigil.Over, time.Minute, 75 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := view.NewHolder()
				h.Publish(&view.View{Revision: 1})
				gone, drain, start, renews := make(chan struct{}), make(chan struct{}), time.Now(), 0
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.do != nil {
					time.AfterFunc(tt.after, func() { tt.do(cancel, func() { close(gone) }, func() { close(drain) }, h) })
				}
				w := vigil.Watch{
					View: h, Changed: h.Changed(), Seen: h.Load(), Gone: gone, Draining: drain,
					Left: func() time.Duration {
						d := tt.left[0]
						if len(tt.left) > 1 {
							tt.left = tt.left[1:]
						}
						return d
					},
					Renew: func() bool {
						renews++
						ok := tt.on[0]
						if len(tt.on) > 1 {
							tt.on = tt.on[1:]
						}
						return ok
					},
					Beat: func() bool { return time.Since(start) < tt.healthy },
				}
				if got := w.Keep(ctx); got != tt.want {
					t.Errorf("reason %d, want %d", got, tt.want)
				}
				if took := time.Since(start); took < tt.from || took > tt.to || renews != tt.renews {
					t.Errorf("ended after %v and %d looks, want between %v and %v, %d looks", took, renews, tt.from, tt.to, tt.renews)
				}
			})
		})
	}
}

// TestKeepMissesNothing: what was published between authentication and the start is looked at.
func TestKeepMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := view.NewHolder()
		h.Publish(&view.View{Revision: 1})
		seen := h.Load()
		h.Publish(&view.View{Revision: 2})
		start := time.Now()
		w := vigil.Watch{
			View: h, Changed: h.Changed(), Seen: seen, Left: func() time.Duration { return time.Hour },
			Renew: func() bool { return false }, Beat: func() bool { return true },
		}
		if got := w.Keep(t.Context()); got != vigil.Over || time.Since(start) > 250*time.Millisecond {
			t.Errorf("reason %d after %v", got, time.Since(start))
		}
	})
}
