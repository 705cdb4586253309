// SPDX-License-Identifier: Apache-2.0

package bodies

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// ErrRange is a part of a chunk that is not inside it.
var ErrRange = errors.New("a body is not inside its chunk")

// Part is one body of a chunk: the index of the body in what was asked for, and where in the plain bytes it is.
type Part struct {
	Body        int
	Start, Size int
}

// Chunk is compressed bytes with the bodies in them, for writing to disk. Packed is one zstd frame of Size plain bytes.
type Chunk struct {
	Packed []byte
	Size   int
	Parts  []Part
}

// Chunks calls write for chunks that together hold all the bodies. A block most of which is asked for goes as it is;
// from the others the bodies are taken out and packed anew. It may be called while others change the store.
func (s *Store) Chunks(list []*Body, write func(Chunk) error) error {
	w := chunker{store: s, write: write}
	for all := located(list); len(all) > 0; {
		k := all[0].block
		n, size := 0, 0
		for n < len(all) && all[n].block == k {
			size += all[n].size
			n++
		}
		if err := w.group(k, all[:n], size); err != nil {
			return err
		}
		all = all[n:]
	}
	return w.flush()
}

// found is a body of a list and where it is.
type found struct {
	*place
	body int
}

// located finds bodies and sorts them by where they are.
func located(list []*Body) []found {
	all := make([]found, len(list))
	first := make(map[*block]int) // blocks by the order in which they turn up
	for i, b := range list {
		all[i] = found{b.at.Load(), i}
		if _, ok := first[all[i].block]; !ok {
			first[all[i].block] = i
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(first[a.block], first[b.block]), cmp.Compare(a.start, b.start))
	})
	return all
}

// chunker writes chunks.
type chunker struct {
	store *Store
	write func(Chunk) error
	rest  Chunk  // bodies of blocks that do not go as they are
	plain []byte // of rest
	room  []byte
}

// group writes bodies of one block, of size bytes together.
func (w *chunker) group(k *block, bodies []found, size int) error {
	c := k.content.Load()
	if c.packed != nil && size*2 > k.size {
		whole := Chunk{Packed: c.packed, Size: k.size, Parts: make([]Part, len(bodies))}
		for i, f := range bodies {
			whole.Parts[i] = Part{Body: f.body, Start: f.start, Size: f.size}
		}
		return w.write(whole)
	}
	from := c.plain
	if from == nil {
		w.room = k.unpack(w.room)
		from = w.room
	}
	for _, f := range bodies {
		if len(w.plain) > 0 && len(w.plain)+f.size > blockSize {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.rest.Parts = append(w.rest.Parts, Part{Body: f.body, Start: len(w.plain), Size: f.size})
		w.plain = append(w.plain, from[f.start:f.start+f.size]...)
	}
	return nil
}

func (w *chunker) flush() error {
	if len(w.rest.Parts) == 0 {
		return nil
	}
	w.rest.Packed, w.rest.Size = w.store.encoder.EncodeAll(w.plain, nil), len(w.plain)
	err := w.write(w.rest)
	w.rest, w.plain = Chunk{}, w.plain[:0]
	return err
}

// Adopt takes a chunk over from disk and returns the bodies of its parts. The chunk is not unpacked, so whoever gives it
// vouches for it; what can be seen to be wrong is ErrRange.
func (s *Store) Adopt(c Chunk) ([]*Body, error) {
	k := &block{store: s, size: c.Size, tenants: make([]*Body, len(c.Parts))}
	k.content.Store(&content{packed: bytes.Clone(c.Packed)})
	// Three allocations for a chunk, not two for each body.
	list, places := make([]Body, len(c.Parts)), make([]place, len(c.Parts))
	for i, p := range c.Parts {
		if p.Start < 0 || p.Size < 0 || p.Start > c.Size || p.Size > c.Size-p.Start {
			return nil, ErrRange
		}
		places[i] = place{block: k, start: p.Start, size: p.Size}
		list[i].at.Store(&places[i])
		k.tenants[i] = &list[i]
		k.live += p.Size
	}
	return slices.Clone(k.tenants), nil
}
