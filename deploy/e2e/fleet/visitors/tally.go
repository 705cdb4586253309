// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"sync"
	"time"
)

// Call is one call that did not succeed at once.
type Call struct {
	Visitor int
	Legacy  bool
	Token   string
	Tool    string
	// Repeatable says that the tool is marked so; then the call was repeated, and failed each time.
	Repeatable bool
	Address    string // the client's, of the connection of the last attempt
	Began      time.Time
	Ended      time.Time
	// Unknown says that the answer was outcome_unknown (G-53).
	Unknown bool
	Reason  string
}

// Tally is what happened to calls.
type Tally struct {
	Succeeded map[string]bool // tokens of calls that succeeded; true for tools that may be repeated
	Failed    []Call
	Retried   int // repetitions of repeatable calls
	Resumed   int // answers that went on over another connection
	Refused   int // streams whose place was not known any more
	Lost      int // progress notifications that are missing in an answer
	Twice     int // progress notifications that came again
	Slowest   time.Duration
}

type tally struct {
	mu sync.Mutex
	t  Tally
}

func (t *tally) take() Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.t
	t.t = Tally{}
	return taken
}

func (t *tally) change(f func(*Tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.t)
}

func (t *tally) succeeded(token string, repeatable bool, took time.Duration) {
	t.change(func(t *Tally) {
		if t.Succeeded == nil {
			t.Succeeded = map[string]bool{}
		}
		t.Succeeded[token] = repeatable
		t.Slowest = max(t.Slowest, took)
	})
}
