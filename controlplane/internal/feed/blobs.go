// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"fmt"
	"sync"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// fetchSome is how many bodies are read from the store at once.
const fetchSome = 256

// blobCache keeps the bodies that were asked for last, up to a number of bytes: a thousand nodes that start ask for the
// same ones.
type blobCache struct {
	store catalog.Store
	limit int
	form  func([]byte) []byte // in which they are kept; nil is as they are

	mu    sync.Mutex
	held  map[catalog.Hash][]byte
	bytes int
}

func newBlobCache(s catalog.Store, limit int, form func([]byte) []byte) *blobCache {
	return &blobCache{store: s, limit: limit, form: form, held: make(map[catalog.Hash][]byte)}
}

func (b *blobCache) get(ctx context.Context, hashes []catalog.Hash) ([][]byte, error) {
	bodies := make([][]byte, len(hashes))
	var missing []int
	b.mu.Lock()
	for i, h := range hashes {
		body, ok := b.held[h]
		if !ok {
			missing = append(missing, i)
		}
		bodies[i] = body
	}
	b.mu.Unlock()
	for len(missing) > 0 {
		some := missing[:min(len(missing), fetchSome)]
		missing = missing[len(some):]
		want := make([]catalog.Hash, len(some))
		for i, at := range some {
			want[i] = hashes[at]
		}
		got, err := b.store.Blobs(ctx, want)
		if err != nil {
			return nil, fmt.Errorf("read bodies: %w", err)
		}
		for i, at := range some {
			if b.form != nil {
				got[i] = b.form(got[i])
			}
			bodies[at] = got[i]
			b.put(want[i], got[i])
		}
	}
	return bodies, nil
}

// put keeps a body; any others make room for it. Which ones does not matter: who reads all bodies reads them once, in
// no order that an eviction could learn from.
func (b *blobCache) put(h catalog.Hash, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.held[h]; ok || len(body) > b.limit {
		return
	}
	for victim, old := range b.held {
		if b.bytes+len(body) <= b.limit {
			break
		}
		b.bytes -= len(old)
		delete(b.held, victim)
	}
	b.held[h] = body
	b.bytes += len(body)
}
