// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// maxHeld bounds what is kept in memory. Beyond it whatever has ended goes, then everything: it is made anew.
	maxHeld = 50_000
	// doubtOnce is how long a provider that calls a request invalid is not suspected again to mean the caller's token by it.
	doubtOnce = 10 * time.Minute
)

// key is what a credential was made for: none is shared between two of them (UP-9).
type key struct {
	user, server, made string // uids, and the version of how it is made
	presented          [sha256.Size]byte
}

func (k key) String() string {
	return strings.Join([]string{k.user, k.server, k.made, hex.EncodeToString(k.presented[:])}, " ")
}

// held is what came of an exchange. It is not changed.
type held struct {
	token    obs.Secret
	obtained time.Time
	until    time.Time    // not given out from then on
	failed   *fault.Fault // there is no token, until then
}

// usable reports whether an answer is at hand. A server that refused the token gets another one, but not one after the other.
func (h *held) usable(now time.Time, refused bool) bool {
	if h == nil || !now.Before(h.until) {
		return false
	}
	return h.failed != nil || !refused || now.Sub(h.obtained) < forcedOnce
}

// memory keeps what was made.
type memory struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	held    map[key]*held
	spent   map[[sha256.Size]byte]time.Time // presented tokens that were refused → their end
	doubted map[key]time.Time
	ended   map[string]end // by user
	serial  uint64         // of the newest end
}

// end is when a user was forgotten. What was begun before is not kept.
type end struct {
	serial uint64
	at     time.Time
}

func newMemory(now func() time.Time) memory {
	return memory{
		now: now, held: make(map[key]*held), spent: make(map[[sha256.Size]byte]time.Time), doubted: make(map[key]time.Time),
		ended: make(map[string]end),
	}
}

func (m *memory) get(k key) *held {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held[k]
}

// began returns where in the order of ends something begins to be made.
func (m *memory) began() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serial
}

// put keeps what was made, unless its user was forgotten since it began to be made.
func (m *memory) put(k key, h *held, began uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended[k.user].serial > began {
		return false
	}
	if len(m.held) >= maxHeld {
		now := m.now()
		maps.DeleteFunc(m.held, func(_ key, h *held) bool { return !now.Before(h.until) })
		if len(m.held) >= maxHeld {
			clear(m.held)
		}
	}
	m.held[k] = h
	return true
}

func (m *memory) forget(user string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	maps.DeleteFunc(m.ended, func(_ string, e end) bool { return now.Sub(e.at) > 2*makeTimeout }) // nothing takes that long
	m.serial++
	m.ended[user] = end{m.serial, now}
	maps.DeleteFunc(m.held, func(k key, _ *held) bool { return k.user == user })
	maps.DeleteFunc(m.doubted, func(k key, _ time.Time) bool { return k.user == user })
}

// spend remembers that a presented token was refused, until its end.
func (m *memory) spend(presented [sha256.Size]byte, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.spent) >= maxHeld {
		clear(m.spent)
	}
	m.spent[presented] = until
}

func (m *memory) isSpent(presented [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.spent[presented])
}

// doubt reports whether the caller's token may be suspected, and remembers that it was.
func (m *memory) doubt(k key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if last, there := m.doubted[k]; there && now.Sub(last) < doubtOnce {
		return false
	}
	if len(m.doubted) >= maxHeld {
		clear(m.doubted)
	}
	m.doubted[k] = now
	return true
}
