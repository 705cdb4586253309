// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Stage is how far a staged rollout has come.
type Stage string

// The stages.
const (
	StageOne     Stage = "one"     // one node
	StageTenth   Stage = "tenth"   // a tenth of the nodes, at least two
	StageAll     Stage = "all"     // all nodes: it is over
	StageStopped Stage = "stopped" // a node rejected it or took too long: it goes no further
)

// Rollout is the staged rollout of a deployment: there is one at most, and all control planes share it. The nodes outside
// the stage get no revision after Base meanwhile.
type Rollout struct {
	Revision Revision  `json:"revision"` // that is rolled out; 0 if there never was one
	Base     Revision  `json:"base"`     // the latest one that all nodes may have
	Stage    Stage     `json:"stage"`
	Nodes    []string  `json:"nodes,omitempty"` // that may have what is after Base, "<region>/<name>", sorted; a node without region is "/<name>"
	Since    time.Time `json:"since"`           // when the stage began
	Reason   string    `json:"reason,omitempty"`
	// Ended is the revision with which it ended, once the Stage is StageAll: until a control plane has taken that in, it holds
	// to Base.
	Ended Revision `json:"ended,omitempty"`
	// Version counts the changes of the rollout.
	Version int64 `json:"-"`
}

// Running reports whether nodes are still held back.
func (r Rollout) Running() bool { return r.Revision != 0 && r.Stage != StageAll }

// Limit returns the latest revision that a node may have, given the head that is known; no rollout is no limit.
func (r Rollout) Limit(node string, head Revision) Revision {
	switch {
	case r.Revision == 0, r.Stage == StageAll && head >= r.Ended:
		return head
	case r.Stage != StageAll && slices.Contains(r.Nodes, node):
		return head
	default:
		return min(head, r.Base)
	}
}

// Begin returns the rollout of a change that is committed as rev. If one is running, it is Precondition, ROLLOUT_RUNNING;
// one that has stopped is replaced, and what it held back stays so.
func (r Rollout) Begin(rev Revision, now time.Time) (Rollout, error) {
	next := Rollout{Revision: rev, Base: rev - 1, Stage: StageOne, Since: now.UTC(), Version: r.Version + 1}
	switch {
	case !r.Running():
		return next, nil
	case r.Stage == StageStopped:
		next.Base = r.Base
		return next, nil
	default:
		return r, fault.Newf(fault.Precondition, ReasonRolloutRunning,
			"Revision %d is being rolled out in stages; wait for its end, promote it, or roll it back.", r.Revision)
	}
}

// Undone returns the rollout after a change, committed as rev, that took everything back to a revision: a rollout of a
// later one is over, because all nodes end in the same state now.
func (r Rollout) Undone(to, rev Revision, now time.Time) Rollout {
	if !r.Running() || to > r.Base {
		return r
	}
	r.Stage, r.Nodes, r.Since, r.Ended, r.Version = StageAll, nil, now.UTC(), rev, r.Version+1
	r.Reason = "rolled back"
	return r
}

// Rollouts keeps the rollout. Stores implement it.
type Rollouts interface {
	// Rollout returns the rollout, the zero Rollout if there never was one.
	Rollout(ctx context.Context) (Rollout, error)
	// Advance replaces the rollout, unless its version is no longer one less than that of next; it reports whether it did.
	Advance(ctx context.Context, next Rollout) (bool, error)
}
