// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report is what became of a run. Times are in milliseconds, memory in bytes.
type Report struct {
	Nodes int `json:"nodes"`
	// Agreed is the verdict: all nodes ended at one revision, and those of a region with one digest.
	Agreed    bool   `json:"agreed"`
	Connected int    `json:"connected"`
	Loaded    int    `json:"loaded"`
	Epoch     string `json:"epoch"`
	// MinRevision and MaxRevision are where the nodes ended.
	MinRevision uint64 `json:"min_revision"`
	MaxRevision uint64 `json:"max_revision"`
	// LoadMS is how long it took until every node had a state, 0 if not all got one in time.
	LoadMS float64 `json:"load_ms"`
	// FullStates is how many snapshots were applied: one per node, unless something was lost.
	FullStates int `json:"full_states"`
	Rejects    int `json:"rejects"`
	// Spread is, over the revisions that some node enforced, the time from the first node that did to the last.
	Spread Spread `json:"spread_ms"`
	// RSSBytes is the resident memory of this process.
	RSSBytes int64 `json:"rss_bytes"`
	// Revisions are the revisions that some node enforced, in order.
	Revisions []Revision `json:"revisions,omitempty"`
}

// Spread is a distribution in milliseconds.
type Spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Revision is when the first and the last node enforced a revision or a later one, in nanoseconds since 1970: a writer on
// the same host knows when it was committed.
type Revision struct {
	Revision uint64 `json:"revision"`
	FirstNS  int64  `json:"first_ns"`
	LastNS   int64  `json:"last_ns"`
	// DeniedNS is when the last node enforced what the revision takes away, by the fast lane or with the rest.
	DeniedNS int64 `json:"denied_ns"`
}

func report(members []*member, load time.Duration, agreed bool) Report {
	r := Report{Nodes: len(members), Agreed: agreed, MinRevision: math.MaxUint64, LoadMS: max(0, ms(load)), RSSBytes: residentBytes()}
	for _, m := range members {
		s := m.status()
		if s.Connected {
			r.Connected++
		}
		if s.Loaded {
			r.Loaded++
		}
		r.Epoch, r.Rejects = s.Epoch, r.Rejects+s.Rejects
		r.MinRevision, r.MaxRevision = min(r.MinRevision, s.Revision), max(r.MaxRevision, s.Revision)
		m.mu.Lock()
		r.FullStates += m.full
		m.mu.Unlock()
	}
	r.Revisions = revisions(members)
	r.Spread = spread(r.Revisions)
	return r
}

// revisions merges what the nodes reached. The revisions before all nodes had a state say how they started, not how a
// change travels: they are left out.
func revisions(members []*member) []Revision {
	at := make(map[uint64]struct{})
	from := uint64(0)
	for _, m := range members {
		m.mu.Lock()
		for i, x := range m.reached {
			if i == 0 {
				from = max(from, x.revision)
			}
			at[x.revision] = struct{}{}
		}
		m.mu.Unlock()
	}
	var list []Revision
	for rev := range at {
		if rev <= from {
			continue
		}
		if x, ok := over(members, rev); ok {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b Revision) int { return cmp.Compare(a.Revision, b.Revision) })
	return list
}

// over returns when the nodes reached a revision; ok is false if one of them never did.
func over(members []*member, rev uint64) (x Revision, ok bool) {
	x = Revision{Revision: rev, FirstNS: math.MaxInt64}
	for _, m := range members {
		m.mu.Lock()
		at, ok := first(m.reached, rev)
		if denied, early := first(m.denied, rev); early && ok && denied.Before(at) && m.denies(rev) {
			x.DeniedNS = max(x.DeniedNS, denied.UnixNano())
		} else {
			x.DeniedNS = max(x.DeniedNS, at.UnixNano())
		}
		m.mu.Unlock()
		if !ok {
			return Revision{}, false
		}
		x.FirstNS, x.LastNS = min(x.FirstNS, at.UnixNano()), max(x.LastNS, at.UnixNano())
	}
	return x, true
}

// first returns when a list in order first came to a revision or a later one.
func first(list []reached, rev uint64) (at time.Time, ok bool) {
	i, _ := slices.BinarySearchFunc(list, rev, func(r reached, rev uint64) int { return cmp.Compare(r.revision, rev) })
	if i == len(list) {
		return time.Time{}, false
	}
	return list[i].at, true
}

// denies reports whether the revision itself came by the fast lane: a later denial says nothing about it. The caller
// holds mu.
func (m *member) denies(rev uint64) bool {
	_, found := slices.BinarySearchFunc(m.denied, rev, func(r reached, rev uint64) int { return cmp.Compare(r.revision, rev) })
	return found
}

func spread(list []Revision) Spread {
	if len(list) == 0 {
		return Spread{}
	}
	all := make([]float64, len(list))
	for i, x := range list {
		all[i] = ms(time.Duration(x.LastNS - x.FirstNS))
	}
	slices.Sort(all)
	at := func(q float64) float64 { return all[min(len(all)-1, int(q*float64(len(all))))] }
	return Spread{Count: len(all), P50: at(0.5), P99: at(0.99), Max: all[len(all)-1]}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// residentBytes reads VmRSS, 0 where there is no /proc.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}
