// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"fmt"
	"maps"
)

// maxPending is the most bytes of one delta, over all its parts (D-29), with room for what surrounds the resources.
const maxPending = 96 << 20

// Pending joins the parts of one delta. The zero value is ready.
type Pending struct {
	delta *Delta
	bytes int
}

// Add takes the next part, of size bytes, and returns the whole delta with the last one, nil before. A part that does
// not belong to the ones before is ErrMalformed.
func (p *Pending) Add(part *Delta, size int) (*Delta, error) {
	p.bytes += size
	if p.bytes > maxPending {
		return nil, fmt.Errorf("%w: a delta of more than %d bytes", ErrMalformed, maxPending)
	}
	if p.delta == nil {
		p.delta = part
	} else {
		d := p.delta
		if part.Epoch != d.Epoch || part.From != d.From || part.To != d.To || part.Atomic != d.Atomic {
			return nil, fmt.Errorf("%w: a part of another delta", ErrMalformed)
		}
		maps.Copy(d.Blobs, part.Blobs)
		d.Upserts = append(d.Upserts, part.Upserts...)
		d.Tombstones = append(d.Tombstones, part.Tombstones...)
		d.Digest = part.Digest
	}
	if part.More {
		return nil, nil
	}
	d := p.delta
	*p = Pending{}
	return d, nil
}

// Open reports whether a delta has begun and not ended.
func (p *Pending) Open() bool { return p.delta != nil }
