// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Nodes runs the suite of [forward.Store]. open returns an empty store each time.
func Nodes(t *testing.T, open func(t *testing.T) forward.Store) {
	const long = time.Minute
	a := forward.Node{Name: "node-a", Address: "10.0.0.1:8084", Generation: 7}
	b := forward.Node{Name: "b.2", Address: "[::1]:8084", Draining: true, Generation: 1 << 63}
	t.Run("announced nodes are listed", func(t *testing.T) {
		s := open(t)
		wantNodes(t, s)
		announce(t, s, a, long)
		announce(t, s, b, long)
		wantNodes(t, s, a, b)
		drained := a
		drained.Draining, drained.Address = true, "10.0.0.9:1"
		announce(t, s, drained, long)
		wantNodes(t, s, drained, b)
	})
	t.Run("a newer process takes the name over, an older one does not", func(t *testing.T) {
		s := open(t)
		newer := a
		newer.Generation, newer.Address = 1<<53+2, "10.0.0.2:8084"
		older := newer
		older.Generation = 1<<53 + 1 // equal to the newer one as a float
		announce(t, s, a, long)
		announce(t, s, newer, long)
		for _, late := range []forward.Node{a, older} {
			err := s.Announce(t.Context(), late, long)
			if f := fault.From(err); f.Kind != fault.Conflict || f.Reason != forward.ReasonNameTaken {
				t.Errorf("generation %d announces after a newer one: %v", late.Generation, err)
			}
		}
		wantNodes(t, s, newer)
		if err := s.Withdraw(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		wantNodes(t, s, newer)
	})
	t.Run("a node that withdraws is gone", func(t *testing.T) {
		s := open(t)
		announce(t, s, a, long)
		announce(t, s, b, long)
		for range 2 { // twice is no error
			if err := s.Withdraw(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
		wantNodes(t, s, b)
		announce(t, s, a, long)
		wantNodes(t, s, a, b)
	})
	t.Run("a lease runs out", func(t *testing.T) {
		s := open(t)
		announce(t, s, b, long)
		announce(t, s, a, 50*time.Millisecond)
		eventually(t, func() bool {
			nodes, err := s.Nodes(t.Context())
			return err == nil && cmp.Equal(nodes, []forward.Node{b})
		})
		older := a
		older.Generation--
		announce(t, s, older, long) // nobody has the name any more
		wantNodes(t, s, older, b)
	})
}

func announce(t *testing.T, s forward.Store, n forward.Node, ttl time.Duration) {
	t.Helper()
	if err := s.Announce(t.Context(), n, ttl); err != nil {
		t.Fatal(err)
	}
}

func wantNodes(t *testing.T, s forward.Store, want ...forward.Node) {
	t.Helper()
	got, err := s.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := func(a, b forward.Node) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("nodes (-want +got):\n%s", d)
	}
}
