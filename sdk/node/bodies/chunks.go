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
	type found struct {
		*place
		body int
	}
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
	var rest Chunk // of blocks that do not go as they are
	var plain, room []byte
	flush := func() error {
		if len(rest.Parts) == 0 {
			return nil
		}
		rest.Packed, rest.Size = s.encoder.EncodeAll(plain, nil), len(plain)
		err := write(rest)
		rest, plain = Chunk{}, plain[:0]
		return err
	}
	for len(all) > 0 {
		k := all[0].block
		n, size := 0, 0
		for n < len(all) && all[n].block == k {
			size += all[n].size
			n++
		}
		group := all[:n]
		all = all[n:]
		c := k.content.Load()
		if c.packed != nil && size*2 > k.size {
			whole := Chunk{Packed: c.packed, Size: k.size, Parts: make([]Part, n)}
			for i, f := range group {
				whole.Parts[i] = Part{Body: f.body, Start: f.start, Size: f.size}
			}
			if err := write(whole); err != nil {
				return err
			}
			continue
		}
		from := c.plain
		if from == nil {
			room = k.unpack(room)
			from = room
		}
		for _, f := range group {
			if len(plain) > 0 && len(plain)+f.size > blockSize {
				if err := flush(); err != nil {
					return err
				}
			}
			rest.Parts = append(rest.Parts, Part{Body: f.body, Start: len(plain), Size: f.size})
			plain = append(plain, from[f.start:f.start+f.size]...)
		}
	}
	return flush()
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
