// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// RevokedKind says what a revocation is about.
type RevokedKind uint8

// The kinds of revocations (D-32).
const (
	RevokedToken    RevokedKind = iota + 1 // one access token, by jti
	RevokedGrant                           // the tokens of a grant, by gid
	RevokedKey                             // the tokens signed with a key, by kid
	RevokedSubject                         // the tokens of a user that were issued before, by uid
	RevokedWorkload                        // no token but a node or an authserver that is banned (D-81), by SPIFFE id
)

// Revocation takes access tokens away before they expire.
type Revocation struct {
	Kind         RevokedKind
	Key          [sha256.Size]byte // SHA-256 of the jti, gid, kid, uid or SPIFFE id
	Expires      time.Time         // when no token is left that it concerns
	IssuedBefore time.Time         // of RevokedSubject: tokens issued then or before
}

// TokenKeys are those of an access token that revocations name, each SHA-256, and when it was issued.
type TokenKeys struct {
	Token, Grant, Key, Subject [sha256.Size]byte
	Issued                     time.Time
}

const (
	// maxRevocations bounds memory to about 150 MB. A deployment that revokes more within the life of an access token
	// loses them for all tokens of that time, see [Revocations.overflow].
	maxRevocations = 1 << 20
	// sweepRevocations is how often expired ones are dropped, at most.
	sweepRevocations = time.Minute
	// clockSkew is how far the clock that tokens are issued by may be ahead.
	clockSkew = time.Minute
)

// revokedKey is what a revocation is found by.
type revokedKey struct {
	kind RevokedKind
	key  [sha256.Size]byte
}

// Revocations are the revoked access tokens. Unlike a view they are one set that only grows until its members expire:
// what was revoked after a snapshot was taken counts for it too. They are safe for concurrent use.
type Revocations struct {
	generation atomic.Uint64 // of the set; raised by each addition
	max        int

	mu      sync.RWMutex
	entries map[revokedKey]Revocation
	keys    map[[sha256.Size]byte]time.Time // of RevokedKey: never given up early
	bans    map[[sha256.Size]byte]time.Time // of RevokedWorkload: neither
	swept   time.Time
	floor   time.Time // tokens issued then or before are revoked, because there were more than memory holds
}

func newRevocations(most int) *Revocations {
	return &Revocations{max: most, entries: make(map[revokedKey]Revocation), keys: make(map[[sha256.Size]byte]time.Time), bans: make(map[[sha256.Size]byte]time.Time)}
}

// Generation changes whenever something is revoked: a token that was good at a generation still is at the same one.
func (r *Revocations) Generation() uint64 { return r.generation.Load() }

// Revoked reports whether a token is revoked.
func (r *Revocations) Revoked(t *TokenKeys) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.floor.IsZero() && !t.Issued.After(r.floor) {
		return true
	}
	if _, ok := r.keys[t.Key]; ok {
		return true
	}
	if len(r.entries) == 0 {
		return false
	}
	if _, ok := r.entries[revokedKey{RevokedToken, t.Token}]; ok {
		return true
	}
	if _, ok := r.entries[revokedKey{RevokedGrant, t.Grant}]; ok {
		return true
	}
	e, ok := r.entries[revokedKey{RevokedSubject, t.Subject}]
	return ok && !t.Issued.After(e.IssuedBefore)
}

// Banned reports whether a node or an authserver is banned, by the SHA-256 of its SPIFFE id.
func (r *Revocations) Banned(workload [sha256.Size]byte) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, banned := r.bans[workload]
	return banned
}

// Counts returns how many revocations are kept.
func (r *Revocations) Counts() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.entries) + len(r.keys) + len(r.bans)
}

// add keeps revocations that have not expired. Of two about the same subject the later time counts.
func (r *Revocations) add(now time.Time, list []Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now, false)
	for _, e := range list {
		if !now.Before(e.Expires) {
			continue
		}
		if kept := r.lasting(e.Kind); kept != nil {
			if e.Expires.After(kept[e.Key]) {
				kept[e.Key] = e.Expires
			}
			continue
		}
		k := revokedKey{e.Kind, e.Key}
		if old, ok := r.entries[k]; ok {
			if old.IssuedBefore.After(e.IssuedBefore) {
				e.IssuedBefore = old.IssuedBefore
			}
			if old.Expires.After(e.Expires) {
				e.Expires = old.Expires
			}
		} else if len(r.entries) >= r.max {
			r.overflow(now)
		}
		r.entries[k] = e
	}
	r.generation.Add(1) // last: who reads the new generation reads the new set
}

// lasting returns where revocations of a kind are kept that are never given up early, nil for others.
func (r *Revocations) lasting(k RevokedKind) map[[sha256.Size]byte]time.Time {
	switch k {
	case RevokedKey:
		return r.keys
	case RevokedWorkload:
		return r.bans
	default:
		return nil
	}
}

// overflow makes room without forgetting: every token issued so far is revoked in place of the ones that were. Clients
// get a new one by their grants, and those whose grant was revoked get none.
func (r *Revocations) overflow(now time.Time) {
	r.sweep(now, true)
	if len(r.entries) < r.max {
		return
	}
	clear(r.entries)
	r.floor = now.Add(clockSkew)
}

// sweep drops what has expired.
func (r *Revocations) sweep(now time.Time, force bool) {
	if !force && now.Sub(r.swept) < sweepRevocations {
		return
	}
	r.swept = now
	for k, e := range r.entries {
		if !now.Before(e.Expires) {
			delete(r.entries, k)
		}
	}
	for _, kept := range []map[[sha256.Size]byte]time.Time{r.keys, r.bans} {
		for k, expires := range kept {
			if !now.Before(expires) {
				delete(kept, k)
			}
		}
	}
}
