// SPDX-License-Identifier: Apache-2.0

package revert

import (
	"context"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonRevisionAhead (Invalid): there is no such revision yet.
const ReasonRevisionAhead = "REVISION_AHEAD"

// pageSize is how many changes are read at a time.
const pageSize = 500

// Log is the revision log. record.Store has it.
type Log interface {
	Head(ctx context.Context) (record.Head, error)
	Floor(ctx context.Context) (record.Revision, error)
	Changes(ctx context.Context, after record.Revision, limit int) ([]record.Change, error)
}

// Past is what differs between a revision and a later head, as far as it goes back.
type Past struct {
	To   record.Revision
	Head record.Head
	// Was has, for every record that was written after To, the living state at To; nil if there was none.
	Was map[record.Key]*record.Record
}

// Kinds are the kinds that go back, in the order in which they depend on each other. Users, teams, memberships and bearer
// tokens are not among them: what was taken away from a person does not come back.
func Kinds() []resource.Kind {
	return []resource.Kind{
		resource.KindIdentityProvider, resource.KindServer, resource.KindTool, resource.KindConnection, resource.KindGateway,
		resource.KindAssignment, resource.KindOAuthClient, resource.KindPolicy, resource.KindResultPolicy,
	}
}

// Goes reports whether records of a kind go back.
func Goes(k resource.Kind) bool { return slices.Contains(Kinds(), k) }

// Read reads the log from its head down to a revision. A revision that is not kept is Stale, REVISION_UNKNOWN; one after the
// head is Invalid, REVISION_AHEAD.
func Read(ctx context.Context, log Log, to record.Revision) (Past, error) {
	head, err := log.Head(ctx)
	if err != nil {
		return Past{}, err
	}
	if to > head.Revision {
		return Past{}, fault.Newf(fault.Invalid, ReasonRevisionAhead, "There is no revision %d yet; the latest is %d.", to, head.Revision).
			At("revision", "is later than the head")
	}
	floor, err := log.Floor(ctx)
	if err != nil {
		return Past{}, err
	}
	if to < floor {
		return Past{}, fault.Newf(fault.Stale, record.ReasonRevisionUnknown,
			"Revision %d is no longer kept; the oldest one to go back to is %d.", to, floor).At("revision", "is no longer kept")
	}
	p := Past{To: to, Head: head, Was: make(map[record.Key]*record.Record)}
	for after := to; after < head.Revision; {
		page, err := log.Changes(ctx, after, pageSize)
		if err != nil {
			return Past{}, err
		}
		for _, c := range page {
			if c.Revision > head.Revision {
				break
			}
			if err := p.enter(c); err != nil {
				return Past{}, err
			}
		}
		if len(page) == 0 {
			break
		}
		after = page[len(page)-1].Revision
	}
	return p, nil
}

// enter notes what a change replaced; of a record, the first change counts.
func (p *Past) enter(c record.Change) error {
	for _, op := range c.Ops {
		if !Goes(op.Kind) {
			continue
		}
		if _, known := p.Was[op.Key]; known {
			continue
		}
		if !c.Undo {
			return fault.Newf(fault.Stale, record.ReasonRevisionUnknown,
				"Revision %d was made by an older version, which did not keep what it replaced; the oldest revision to go back to is %d.",
				c.Revision, c.Revision).At("revision", "is before revision "+fmtRevision(c.Revision))
		}
		p.Was[op.Key] = op.Before
	}
	return nil
}

// Keys returns the keys of what may differ, of one kind, in name order.
func (p *Past) Keys(kind resource.Kind) []record.Key {
	var keys []record.Key
	for k := range p.Was {
		if k.Kind == kind {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b record.Key) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return keys
}
