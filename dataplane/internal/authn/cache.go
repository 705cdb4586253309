// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto/sha256"
	"sync"
)

const (
	cacheShards = 16
	maxCached   = 64 << 10 // tokens; about 1 KiB each
	perShard    = maxCached / cacheShards
)

// cache keeps verified tokens by the SHA-256 of their text, so that a call costs a look-up and no signature. It says
// nothing about what was revoked or who may use what. The zero value is ready; it is safe for concurrent use.
type cache[V any] struct{ shards [cacheShards]shard[V] }

// shard has two generations: when the young one is full it becomes the old one, whose tokens come back by being used. Expired ones go with their generation.
type shard[V any] struct {
	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]*V
}

func (c *cache[V]) shard(hash [sha256.Size]byte) *shard[V] { return &c.shards[hash[0]%cacheShards] }

// get returns a token, nil if it is not there.
func (c *cache[V]) get(hash [sha256.Size]byte) *V {
	s := c.shard(hash)
	s.mu.RLock()
	v := s.young[hash]
	var aged *V
	if v == nil {
		aged = s.old[hash]
	}
	s.mu.RUnlock()
	if aged == nil {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(hash, aged)
	return aged
}

// put keeps a token.
func (c *cache[V]) put(hash [sha256.Size]byte, v *V) {
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(hash, v)
}

// add puts into the young generation. The caller holds mu.
func (s *shard[V]) add(hash [sha256.Size]byte, v *V) {
	if s.young == nil || len(s.young) >= perShard/2 {
		s.old, s.young = s.young, make(map[[sha256.Size]byte]*V)
	}
	s.young[hash] = v
}
