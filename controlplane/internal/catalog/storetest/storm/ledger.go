// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"fmt"
	"sync"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// attempt names one call of Write; no two have the same name, also when a run is continued.
type attempt struct {
	Run, Writer, N uint64
}

// fate is what is known of an attempt.
type fate struct {
	Acked   catalog.Revision `json:"acked,omitempty"`  // what the writer was told; 0: nothing yet, or an error
	Seen    catalog.Revision `json:"seen,omitempty"`   // where the log has it
	Doomed  bool             `json:"doomed,omitempty"` // its function failed: it must never be seen
	Round   uint64           `json:"round,omitempty"`  // of checkpoints, when its error came
	Errored bool             `json:"errored,omitempty"`
}

// Findings are what must be 0, and how much was done.
type Findings struct {
	// Commits are the revisions that were read from the log and checked.
	Commits int64 `json:"commits"`
	// Acknowledged are the writes that returned a revision.
	Acknowledged int64 `json:"acknowledged"`
	// Errors are the writes that returned an error, by the kind of the fault; some of them were committed all the same.
	Errors       int64            `json:"errors"`
	ErrorsByKind map[string]int64 `json:"errors_by_kind"`
	// CommittedInSpite are the writes that returned an error and are in the log.
	CommittedInSpite int64 `json:"committed_in_spite_of_an_error"`
	// Lost are acknowledged writes that the log does not have.
	Lost int64 `json:"lost"`
	// Reordered are revisions that the reader got out of order, twice or with a gap, or that differ from the one the writer was told.
	Reordered int64 `json:"reordered"`
	// Phantom are changes that nobody made: unknown, made a second time, failed by their own function, or with another content.
	Phantom int64 `json:"phantom"`
	// Unclassified are texts of errors that are no fault of a known kind, a few: bugs, though the log is right.
	Unclassified []string `json:"unclassified,omitempty"`
	// Examples say what was found, a few.
	Examples []string `json:"examples,omitempty"`
}

// Bad returns how many things are wrong.
func (f Findings) Bad() int64 { return f.Lost + f.Reordered + f.Phantom }

// ledger compares what was attempted with what the log has.
type ledger struct {
	mu       sync.Mutex
	last     catalog.Revision
	open     map[attempt]*fate
	findings Findings
	latest   map[catalog.Key]catalog.Hash // the newest version of each record, by the log
}

func newLedger() *ledger {
	return &ledger{
		open: make(map[attempt]*fate), latest: make(map[catalog.Key]catalog.Hash),
		findings: Findings{ErrorsByKind: make(map[string]int64)},
	}
}

const mostExamples = 20

func (l *ledger) note(format string, args ...any) {
	if len(l.findings.Examples) < mostExamples {
		l.findings.Examples = append(l.findings.Examples, fmt.Sprintf(format, args...))
	}
}

// begin enters an attempt before it is made.
func (l *ledger) begin(a attempt, doomed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[a] = &fate{Doomed: doomed}
}

// acknowledge enters the revision that a writer was told.
func (l *ledger) acknowledge(a attempt, rev catalog.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findings.Acknowledged++
	f := l.open[a]
	switch {
	case f == nil:
		return // it was found to be wrong already
	case f.Seen != 0 && f.Seen != rev:
		l.findings.Reordered++
		l.note("%v was acknowledged as revision %d and is %d in the log", a, rev, f.Seen)
		delete(l.open, a)
	case f.Seen != 0:
		delete(l.open, a)
	default:
		f.Acked = rev
	}
}

// fail enters that a writer got an error: the log may have the attempt or not.
func (l *ledger) fail(a attempt, kind string, err error, round uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if kind == fault.Bug.String() && len(l.findings.Unclassified) < mostExamples {
		l.findings.Unclassified = append(l.findings.Unclassified, fmt.Sprint(err))
	}
	l.findings.Errors++
	l.findings.ErrorsByKind[kind]++
	f := l.open[a]
	if f == nil {
		return
	}
	if f.Seen != 0 {
		l.findings.CommittedInSpite++
		delete(l.open, a)
		return
	}
	f.Errored, f.Round = true, round
}

// see enters a change that the reader got.
func (l *ledger) see(c catalog.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Revision != l.last+1 {
		l.findings.Reordered++
		l.note("revision %d follows %d", c.Revision, l.last)
	}
	l.last = c.Revision
	l.findings.Commits++
	for _, op := range c.Ops {
		l.latest[op.Key] = op.Version
	}
	a, err := parse(c)
	if err != nil {
		l.findings.Phantom++
		l.note("revision %d: %v", c.Revision, err)
		return
	}
	f := l.open[a]
	switch {
	case f == nil:
		l.findings.Phantom++
		l.note("revision %d is %v, which nobody attempted, or is there twice", c.Revision, a)
	case f.Doomed:
		l.findings.Phantom++
		l.note("revision %d is %v, whose function failed", c.Revision, a)
	case f.Errored:
		l.findings.CommittedInSpite++
		delete(l.open, a)
	case f.Acked != 0 && f.Acked != c.Revision:
		l.findings.Reordered++
		l.note("%v was acknowledged as revision %d and is %d in the log", a, f.Acked, c.Revision)
		delete(l.open, a)
	case f.Acked != 0:
		delete(l.open, a)
	case f.Seen != 0:
		l.findings.Phantom++
		l.note("revisions %d and %d are both %v", f.Seen, c.Revision, a)
	default:
		f.Seen = c.Revision
	}
}

// settle is called when no write is under way and the reader has caught up: what was acknowledged and is not in the log is
// lost. Failed attempts are remembered for two rounds more, in case the database commits one late, and are phantoms after.
func (l *ledger) settle(round uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, f := range l.open {
		switch {
		case f.Acked != 0:
			l.findings.Lost++
			l.note("%v was acknowledged as revision %d and is not in the log", a, f.Acked)
			delete(l.open, a)
		case f.Errored && f.Round+2 <= round:
			delete(l.open, a)
		}
	}
}

// compare checks the records of the store against what the log made of them.
func (l *ledger) compare(have map[catalog.Key]catalog.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, version := range have {
		if l.latest[key] != version {
			l.findings.Phantom++
			l.note("%s %q is not what its last change made", key.Kind, key.Name)
		}
	}
	for key := range l.latest {
		if _, ok := have[key]; !ok {
			l.findings.Lost++
			l.note("%s %q is gone", key.Kind, key.Name)
		}
	}
}

func (l *ledger) position() (catalog.Revision, Findings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.findings
	out.ErrorsByKind = make(map[string]int64, len(l.findings.ErrorsByKind))
	for k, n := range l.findings.ErrorsByKind {
		out.ErrorsByKind[k] = n
	}
	return l.last, out
}

// stale enters that the store no longer has what it had: the reader is ahead of the head.
func (l *ledger) stale(after catalog.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.findings.Lost++
	l.note("the log has lost revision %d, which was read before", after)
}
