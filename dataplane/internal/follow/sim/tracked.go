// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"fmt"
	"slices"
	"sync"

	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// tracked is the state of one node that holds none of its own: which of the contents of the [pool] it has come to. It checks
// every cursor, every digest and that every body came, as a replica does.
type tracked struct {
	pool  *pool
	first int // chunk of bodies that it asks for first

	mu    sync.Mutex
	now   *state  // enforced; nil before anything is
	ahead []state // received, and not enforced yet, in order

	// Bodies of snapshots that did not come to their end, for the next one: each list in order. Of the receiving goroutine.
	spare [][]replica.Hash
}

// newest returns what was received last, nil if nothing was.
func (t *tracked) newest() *state {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.ahead); n > 0 {
		return &t.ahead[n-1]
	}
	return t.now
}

// received notes a state that the client is about to have.
func (t *tracked) received(s state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ahead = append(t.ahead, s)
}

// enforced notes that the client is at a revision now.
func (t *tracked) enforced(epoch string, revision uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.ahead, func(s state) bool { return s.epoch == epoch && s.revision == revision })
	if i < 0 {
		return
	}
	now := t.ahead[i]
	t.now, t.ahead = &now, slices.Clone(t.ahead[i+1:])
}

// resume begins a new stream: what came and was not enforced is lost. It returns the digest for Hello, nil without a state.
// The client has to be where this is.
func (t *tracked) resume(epoch string, revision uint64) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ahead = nil
	at := state{}
	if t.now != nil {
		at = *t.now
	}
	if at.epoch != epoch || at.revision != revision {
		return nil, fmt.Errorf("%w: the client is at %s/%d, its state at %s/%d", replica.ErrCursor, epoch, revision, at.epoch, at.revision)
	}
	if t.now == nil {
		return nil, nil
	}
	return at.digest.Bytes(), nil
}

// at returns what is enforced.
func (t *tracked) at() (epoch string, revision uint64, sum digest.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		return "", 0, digest.Digest{}
	}
	return t.now.epoch, t.now.revision, t.now.digest
}

// snapshot checks a full state of which all parts came and returns which bodies the node still needs for it, in order.
func (t *tracked) snapshot(revision uint64, parts []*message, sum []byte) (c *content, missing []replica.Hash, err error) {
	if c, err = t.pool.build(parts); err != nil {
		return nil, nil, err
	}
	if !c.digest.Equal(sum) {
		return nil, nil, fmt.Errorf("%w: snapshot at revision %d", replica.ErrDrift, revision)
	}
	before := t.newest()
	if before == nil && len(t.spare) == 0 {
		return c, c.needs(), nil
	}
	for _, h := range c.needs() {
		if before != nil {
			if _, ok := before.bodies.get(h); ok {
				continue
			}
		}
		if !t.spares(h) {
			missing = append(missing, h)
		}
	}
	return c, missing, nil
}

func (t *tracked) spares(h replica.Hash) bool {
	return slices.ContainsFunc(t.spare, func(list []replica.Hash) bool {
		_, ok := slices.BinarySearchFunc(list, h, compareHashes)
		return ok
	})
}

// maxSpare is how many lists of spare bodies a node searches.
const maxSpare = 8

// keep notes bodies that came for a snapshot whose stream then broke. The list is not changed: it may be other nodes' too.
func (t *tracked) keep(list []replica.Hash) {
	if len(list) == 0 {
		return
	}
	if t.spare = append(t.spare, list); len(t.spare) > maxSpare {
		all := slices.Concat(t.spare...)
		slices.SortFunc(all, compareHashes)
		t.spare = [][]replica.Hash{all}
	}
}

// complete takes a full state whose bodies have come.
func (t *tracked) complete(epoch string, revision uint64, c *content) {
	t.spare = nil
	t.received(state{epoch: epoch, revision: revision, content: c})
}

// delta takes a change of which all parts came.
// Bodies that it lacks are asked for with fetch.
func (t *tracked) delta(parts []*message, fetch func([]replica.Hash) error) error {
	last := parts[len(parts)-1].delta
	before := t.newest()
	switch {
	case before == nil:
		return fmt.Errorf("%w: a delta without a state", replica.ErrCursor)
	case last.Epoch != before.epoch || last.From != before.revision || last.To <= last.From:
		return fmt.Errorf("%w: at %s/%d, delta from %s/%d to %d", replica.ErrCursor, before.epoch, before.revision, last.Epoch, last.From, last.To)
	}
	made, err := t.pool.apply(before.content, parts)
	if err != nil {
		return err
	}
	if err := fetch(made.missing); err != nil {
		return err
	}
	t.received(state{epoch: last.Epoch, revision: last.To, content: made.after})
	return nil
}

// heartbeat moves the cursor over what does not concern the node, and compares digests.
func (t *tracked) heartbeat(epoch string, to uint64, sum []byte) error {
	at := t.newest()
	if at == nil || epoch != at.epoch {
		return nil // the client knows what that means
	}
	if to > at.revision {
		t.received(state{epoch: epoch, revision: to, content: at.content})
	}
	if len(sum) > 0 && !at.digest.Equal(sum) {
		return fmt.Errorf("%w at revision %d", replica.ErrDrift, max(to, at.revision))
	}
	return nil
}
