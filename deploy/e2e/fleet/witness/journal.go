// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"maps"
	"sync"
)

// Journal is what happened at witnesses. It is safe for concurrent use; the zero value is not usable, see [NewJournal].
type Journal struct {
	mu      sync.Mutex
	runs    map[string]int   // by the token of a call
	notices map[string][]int // numbers of the notices sent, by their subject
}

// NewJournal returns an empty journal.
func NewJournal() *Journal {
	return &Journal{runs: map[string]int{}, notices: map[string][]int{}}
}

// Runs returns how often the call with a token was begun.
func (j *Journal) Runs(token string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.runs[token]
}

// All returns how often each call was begun, by its token.
func (j *Journal) All() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.runs)
}

// Notices returns the numbers of the notices that were sent about a subject.
func (j *Journal) Notices(subject string) []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]int(nil), j.notices[subject]...)
}

func (j *Journal) ran(token string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.runs[token]++
}

func (j *Journal) sent(subject string, number int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notices[subject] = append(j.notices[subject], number)
}
