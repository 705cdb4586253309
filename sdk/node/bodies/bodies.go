// SPDX-License-Identifier: Apache-2.0

package bodies

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

const (
	// blockSize is how many plain bytes a block takes: larger ones are smaller in sum, and cost more to look into.
	blockSize = 32 << 10
	// maxHot is how many plain bytes of bodies in use are kept beside the blocks.
	maxHot = 16 << 20
)

// Store makes bodies. Add, Adopt and Forget are called by one goroutine at a time; bodies may be read by all.
type Store struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	open    *block // takes the next body; nil if none is open

	mu   sync.Mutex // guards what follows
	hot  []*Body    // those with plain bytes beside their block
	warm int        // plain bytes of hot
}

// New returns an empty store.
func New() (*Store, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(blockSize), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make compressor of bodies: %w", err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make decompressor of bodies: %w", err)
	}
	return &Store{encoder: e, decoder: d}, nil
}

// block is some bodies after one another. What it holds is written once; only the list of those who live in it changes.
type block struct {
	store   *Store
	content atomic.Pointer[content]
	size    int     // plain bytes in it
	live    int     // of them, those of bodies that are needed
	tenants []*Body // those bodies
}

// content is the bytes of a block: plain while it is open, else compressed, unless that is no gain.
type content struct {
	packed []byte
	plain  []byte
}

// Body is one body. It is immutable, but for where its bytes are. It may be kept for ever.
type Body struct {
	at  atomic.Pointer[place]
	hot atomic.Pointer[[]byte]
}

// place is a part of a block.
type place struct {
	block       *block
	start, size int
}

// Len returns the number of bytes.
func (b *Body) Len() int { return b.at.Load().size }

// Bytes returns the body, which must not be changed.
func (b *Body) Bytes() []byte {
	if hot := b.hot.Load(); hot != nil {
		return *hot
	}
	p := b.at.Load()
	plain := bytes.Clone(p.block.unpack(nil)[p.start : p.start+p.size])
	p.block.store.keep(b, plain)
	return plain
}

// Is reports whether other is this very body. Two bodies of the same bytes may be different ones.
func (b *Body) Is(other any) bool {
	o, ok := other.(*Body)
	return ok && o == b
}

// unpack returns the plain bytes of a block, in room if they have to be decompressed.
func (k *block) unpack(room []byte) []byte {
	c := k.content.Load()
	if c.plain != nil {
		return c.plain
	}
	plain, err := k.store.decoder.DecodeAll(c.packed, slices.Grow(room[:0], k.size))
	if err != nil || len(plain) != k.size {
		return make([]byte, k.size) // cannot be: this store compressed it, or a seal vouches for it; no definition is all zeros
	}
	return plain
}

// keep leaves plain bytes beside the block, because who asks once asks again. When they have become too many, all go.
func (s *Store) keep(b *Body, plain []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(plain) > maxHot/4 || b.hot.Load() != nil {
		return
	}
	if s.warm+len(plain) > maxHot {
		for _, old := range s.hot {
			old.hot.Store(nil)
		}
		clear(s.hot)
		s.hot, s.warm = s.hot[:0], 0
	}
	b.hot.Store(&plain)
	s.hot = append(s.hot, b)
	s.warm += len(plain)
}

// Add keeps a copy of a body.
func (s *Store) Add(body []byte) *Body {
	b := &Body{}
	s.put(b, body)
	return b
}

func (s *Store) put(b *Body, body []byte) {
	if s.open != nil && s.open.size+len(body) > blockSize {
		s.close()
	}
	if s.open == nil {
		s.open = &block{store: s}
		s.open.content.Store(&content{plain: make([]byte, max(blockSize, len(body)))})
	}
	k := s.open
	copy(k.content.Load().plain[k.size:], body) // behind everything that somebody may be reading
	p := &place{block: k, start: k.size, size: len(body)}
	k.size += len(body)
	k.live += len(body)
	k.tenants = append(k.tenants, b)
	b.at.Store(p)
}

// close closes the open block: it is compressed, unless most of it is not needed any more. Then the rest moves.
func (s *Store) close() {
	k := s.open
	s.open = nil
	if k.live*2 <= k.size {
		s.move(k)
		return
	}
	k.tenants = slices.Clip(k.tenants)
	plain := k.content.Load().plain[:k.size]
	if packed := s.encoder.EncodeAll(plain, make([]byte, 0, len(plain)/3)); len(packed) < len(plain) {
		k.content.Store(&content{packed: bytes.Clone(packed)})
	}
}

// Forget says that nobody will need the body from now on but who has it already. When most of a block is not needed any
// more, the rest moves, so that the block goes with the last who reads in it.
func (s *Store) Forget(b *Body) {
	p := b.at.Load()
	k := p.block
	i := slices.Index(k.tenants, b)
	if i < 0 {
		return
	}
	k.tenants = slices.Delete(k.tenants, i, i+1)
	k.live -= p.size
	if k == s.open || k.live*2 > k.size {
		return
	}
	s.move(k)
}

// move puts the bodies of a block elsewhere.
func (s *Store) move(k *block) {
	plain := k.unpack(nil)
	for _, b := range k.tenants {
		p := b.at.Load()
		s.put(b, plain[p.start:p.start+p.size])
	}
	k.tenants, k.live = nil, 0
}
