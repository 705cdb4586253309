// SPDX-License-Identifier: Apache-2.0

package enroll

import (
	"sync"
	"time"
)

const (
	attemptsMost   = 10 // refused attempts of one address in a window
	attemptsWindow = time.Minute
	attemptsHosts  = 4096 // addresses that are counted apart in one window
)

// attempts counts refused attempts by address. Tokens cannot be guessed: this spares the database and the log.
type attempts struct {
	now func() time.Time

	mu    sync.Mutex
	began time.Time
	hosts map[string]int
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, hosts: make(map[string]int)}
}

// wait returns how long an address must wait, 0 if it may try.
func (a *attempts) wait(host string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	if a.hosts[a.bucket(host)] < attemptsMost {
		return 0
	}
	return a.began.Add(attemptsWindow).Sub(a.now())
}

// count notes a refused attempt.
func (a *attempts) count(host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turn()
	a.hosts[a.bucket(host)]++
}

// bucket returns what an address is counted under: when there are too many, those that came last share one.
func (a *attempts) bucket(host string) string {
	if _, known := a.hosts[host]; known || len(a.hosts) < attemptsHosts {
		return host
	}
	return ""
}

// turn begins a new window when the old one is over. The caller holds mu.
func (a *attempts) turn() {
	if now := a.now(); now.Sub(a.began) >= attemptsWindow {
		a.began = now
		clear(a.hosts)
	}
}
