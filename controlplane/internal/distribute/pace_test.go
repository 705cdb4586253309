// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// TestPace is D-27, D-30 and D-31: when changes go, by what the streams have got of those before.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		at             time.Duration
		head           catalog.Revision
		prompt, denied catalog.Revision
		took           int              // streams that got what was released, before
		target         catalog.Revision // released then
		wait           time.Duration    // until it is looked at again
		woken, caught  bool
	}
	for name, tt := range map[string]struct {
		streams int
		steps   []step
	}{
		"a change after quiet goes at once": {3, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 200 * ms, head: 6, took: 3, target: 6, woken: true},
		}},
		"more are gathered, for longer the more come": {3, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 2 * ms, head: 6, took: 3, target: 5, wait: 3 * ms},
			{at: 5 * ms, head: 7, target: 7, woken: true},
			{at: 10 * ms, head: 8, took: 3, target: 7, wait: 5 * ms},
			{at: 15 * ms, head: 8, target: 8, woken: true},
			{at: 16 * ms, head: 9, took: 3, target: 8, wait: 19 * ms},
		}},
		"what may narrow rights is not gathered": {3, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 1 * ms, head: 6, prompt: 6, target: 6, woken: true},
		}},
		"a denial wakes the streams although the change is gathered": {3, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 1 * ms, head: 6, denied: 6, target: 5, wait: 4 * ms, woken: true},
			{at: 2 * ms, head: 6, denied: 6, target: 5, wait: 3 * ms},
		}},
		"streams that cannot keep up get more at a time": {100, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 100 * ms, head: 6, took: 89, target: 5, wait: 150 * ms},
			{at: 110 * ms, head: 7, took: 1, target: 7, woken: true, caught: true},
		}},
		"but they do not hold it up for long": {100, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 249 * ms, head: 6, took: 10, target: 5, wait: 1 * ms},
			{at: 250 * ms, head: 6, target: 6, woken: true},
		}},
		"nor what may narrow rights": {100, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 100 * ms, head: 6, prompt: 6, target: 6, woken: true},
		}},
		"a few slow ones hold nobody up": {20, []step{
			{at: 0, head: 5, target: 5, woken: true},
			{at: 50 * ms, head: 6, took: 12, target: 6, woken: true},
		}},
		"a log that was restored begins anew": {3, []step{
			{at: 0, head: 5, denied: 5, target: 5, woken: true},
			{at: 1 * ms, head: 3, denied: 2, target: 0, wait: 4 * ms, woken: true},
			{at: 5 * ms, head: 4, denied: 2, target: 4, woken: true},
		}},
	} {
		p := newPace()
		for range tt.streams {
			p.join()
		}
		began := time.Now()
		for i, s := range tt.steps {
			_, target, changed := p.now()
			for range s.took {
				p.took(target)
			}
			caught := len(p.caught) > 0
			for len(p.caught) > 0 {
				<-p.caught
			}
			wait := p.release(catalog.Head{Epoch: "e", Revision: s.head}, s.prompt, s.denied, began.Add(s.at))
			_, target, _ = p.now()
			woken := false
			select {
			case <-changed:
				woken = true
			default:
			}
			if target != s.target || wait != s.wait || woken != s.woken || caught != s.caught {
				t.Errorf("%s, step %d: released %d, wait %s, woken %t, caught up %t; want %d, %s, %t, %t", name, i, target, wait, woken, caught,
					s.target, s.wait, s.woken, s.caught)
			}
		}
	}
}
