// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// TestTurns: a turn ends with the acknowledgement of what was sent in it, or after a second, and never takes the turn of another
// node with it. Until the acknowledgement the node gets nothing more.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := make(turns, 1)
		take := func() *stream {
			st := &stream{server: &Server{turns: line}, queues: true}
			st.queue() <- struct{}{}
			st.queues, st.turn = false, line.begin()
			return st
		}
		first := take()
		if !first.mayGetMore() {
			t.Error("a node whose turn has come gets nothing")
		}
		first.open, first.turn.used = []catalog.Revision{7}, true
		if first.settle(); first.mayGetMore() {
			t.Error("a node gets more before it has acknowledged a large delta")
		}
		first.acked.Store(7)
		if first.settle(); !first.mayGetMore() || first.turn != nil || len(line) != 0 {
			t.Errorf("after the acknowledgement %d have a turn", len(line))
		}
		slow := take()
		slow.open, slow.turn.used = []catalog.Revision{8}, true
		time.Sleep(turnFor + time.Millisecond)
		synctest.Wait()
		next := take() // there is room again
		slow.acked.Store(8)
		if slow.settle(); len(line) != 1 {
			t.Error("a turn that had run out took the next one's")
		}
		if (&stream{}).queue() != nil {
			t.Error("a stream waits for a turn that needs none")
		}
		next.endTurn()
		next.endTurn()
		if len(line) != 0 {
			t.Errorf("%d turns are left", len(line))
		}
	})
}
