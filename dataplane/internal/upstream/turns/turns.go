// SPDX-License-Identifier: Apache-2.0

package turns

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// Patience is how long a call waits for its turn at most.
	Patience = 5 * time.Second
	// perTurn is how many may wait for each that may run.
	perTurn = 4
)

// Turns counts the calls of one connection. It is safe for concurrent use; the zero value is ready.
type Turns struct {
	mu      sync.Mutex
	running int
	waiting []*waiter // first come, first served
}

type waiter struct {
	most int
	turn chan struct{} // closed when it runs
}

// Enter returns true when it is the call's turn: no more than most run then, 0 being no bound. It is false if too many wait
// already, the call has waited for [Patience], or ctx has ended. After true [Turns.Leave] follows.
func (q *Turns) Enter(ctx context.Context, most int) bool {
	q.mu.Lock()
	if most <= 0 || q.running < most && len(q.waiting) == 0 {
		q.running++
		q.mu.Unlock()
		return true
	}
	if len(q.waiting) >= perTurn*most {
		q.mu.Unlock()
		return false
	}
	w := &waiter{most, make(chan struct{})}
	q.waiting = append(q.waiting, w)
	q.mu.Unlock()
	late := time.NewTimer(Patience)
	defer late.Stop()
	select {
	case <-w.turn:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, w); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.grant() // who came behind it may have a higher bound
		return false
	}
	return true // its turn has come just now
}

// Leave ends a call's turn.
func (q *Turns) Leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.grant()
}

// grant has those run whose turn it is. The caller holds mu.
func (q *Turns) grant() {
	for len(q.waiting) > 0 && q.running < q.waiting[0].most {
		q.running++
		close(q.waiting[0].turn)
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
	}
}
