// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	defaultHistory = 100
	maxHistory     = 1000
	mostNamed      = 100 // resources of one revision
)

// RevisionInfo is what one revision changed.
type RevisionInfo struct {
	Revision         Revision
	Time             time.Time
	Actor            string
	Changed, Deleted []string // "<kind>/<name>", at most 100 of each
	Staged           bool
}

// Revisions returns the changes that are kept, newest first: up to limit (0 means 100, at most 1,000) before a revision, 0
// for the head. Administrators only.
func (c *Catalog) Revisions(ctx context.Context, caller Caller, before Revision, limit int) ([]RevisionInfo, error) {
	if err := c.administers(ctx, caller, "list the revisions"); err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = defaultHistory
	}
	limit = min(limit, maxHistory)
	head, err := c.cfg.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	floor, err := c.cfg.Store.Floor(ctx)
	if err != nil {
		return nil, err
	}
	last := head.Revision
	if before > 0 {
		last = min(last, before-1)
	}
	if last <= floor {
		return nil, nil
	}
	first := max(floor, last-min(last, Revision(limit)))
	list, err := c.cfg.Store.Changes(ctx, first, int(last-first))
	if err != nil {
		return nil, err
	}
	out := make([]RevisionInfo, 0, len(list))
	for _, change := range slices.Backward(list) {
		out = append(out, describe(change))
	}
	return out, nil
}

// describe names what a change did.
func describe(c Change) RevisionInfo {
	info := RevisionInfo{Revision: c.Revision, Time: c.Time, Actor: c.Actor, Staged: c.Staged}
	for _, op := range c.Ops {
		to := &info.Changed
		if op.Delete {
			to = &info.Deleted
		}
		if len(*to) < mostNamed {
			*to = append(*to, string(op.Kind)+"/"+op.Name)
		}
	}
	return info
}

// ReasonNoRollout (Precondition): no staged rollout of that revision is running.
const ReasonNoRollout = "NO_ROLLOUT"

// Rollout returns the staged rollout; ok is false if none is running.
func (c *Catalog) Rollout(ctx context.Context) (now Rollout, ok bool, err error) {
	if c.cfg.Rollouts == nil {
		return Rollout{}, false, nil
	}
	now, err = c.cfg.Rollouts.Rollout(ctx)
	return now, now.Running(), err
}

// promoteTries is how often a promotion is tried against the steps that the rollout takes by itself.
const promoteTries = 5

// Promote lets the staged rollout of a revision go to all nodes now, also one that has stopped. Faults: Denied; Precondition
// with reason NO_ROLLOUT.
func (c *Catalog) Promote(ctx context.Context, caller Caller, rev Revision) error {
	if err := c.administers(ctx, caller, "promote a rollout"); err != nil {
		return err
	}
	for range promoteTries {
		now, ok, err := c.Rollout(ctx)
		if err != nil {
			return err
		}
		if !ok || now.Revision != rev {
			return fault.Newf(fault.Precondition, ReasonNoRollout, "No staged rollout of revision %d is running.", rev)
		}
		now.Stage, now.Nodes, now.Ended, now.Since, now.Version = record.StageAll, nil, now.Revision, c.cfg.Now().UTC(), now.Version+1
		if done, err := c.cfg.Rollouts.Advance(ctx, now); err != nil || done {
			return err
		}
	}
	return fault.New(fault.Conflict, record.ReasonWriteConflict, "The rollout kept moving; try again.")
}
