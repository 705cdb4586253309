// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"runtime"
	"sync"
	"time"
)

const (
	// bulk is the size of a delta, in bytes as they are sent, from which a node has to wait for its turn.
	bulk = 16 << 10
	// turnsEach is how many nodes have a turn at the same time, for each core.
	turnsEach = 16
	// turnFor is how long a node has its turn at most: one that is far away, or slow, does not keep the others waiting.
	turnFor = time.Second
)

// turns bound how many nodes take in a large delta at the same time. The other nodes get denials at once meanwhile: these would
// queue behind a megabyte on every connection, and the last node of a thousand would hear of them when it has taken that in (D-30).
// A turn lasts until the node has acknowledged the delta.
type turns chan struct{}

func newTurns() turns { return make(turns, turnsEach*runtime.GOMAXPROCS(0)) }

// begin returns the turn of who has put a token in.
func (t turns) begin() *turn {
	over := sync.OnceFunc(func() { <-t })
	return &turn{over: over, late: time.AfterFunc(turnFor, over)}
}

// turn is one node's.
type turn struct {
	over func()
	late *time.Timer
	used bool // a delta was sent in it
}

// endTurn ends the stream's turn, if it has one.
func (st *stream) endTurn() {
	if st.turn != nil {
		st.turn.late.Stop()
		st.turn.over()
		st.turn = nil
	}
}

// queue returns where the stream gets its turn, nil if it does not wait for one.
func (st *stream) queue() chan<- struct{} {
	if !st.queues {
		return nil
	}
	return st.server.turns
}

func sizeOf(frames [][]byte) (n int) {
	for _, f := range frames {
		n += len(f)
	}
	return n
}
