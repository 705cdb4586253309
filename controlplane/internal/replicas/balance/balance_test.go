// SPDX-License-Identifier: Apache-2.0

package balance_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/replicas/balance"
)

// TestOrder: what has least comes first, what has room before what has none, and everything is named once.
func TestOrder(t *testing.T) {
	tests := []struct {
		name   string
		own    int
		others []balance.Load
		first  []string // what may come first
	}{
		{"nobody", 5, nil, nil},
		{"one", 5, []balance.Load{{"a", 9}}, []string{"a"}},
		{"an empty one", 500, []balance.Load{{"a", 500}, {"new", 0}}, []string{"new"}},
		{"two with room", 400, []balance.Load{{"a", 300}, {"b", 300}}, []string{"a", "b"}},
		{"none has room", 0, []balance.Load{{"a", 30}, {"b", 20}}, []string{"b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(map[string]bool)
			for range 200 {
				got := balance.Order(tt.own, tt.others, rand.N[int])
				if len(got) != len(tt.others) || len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
					t.Fatalf("named %v", got)
				}
				if len(got) > 0 {
					seen[got[0]] = true
				}
			}
			for first := range seen {
				if !slices.Contains(tt.first, first) {
					t.Errorf("%s comes first", first)
				}
			}
			if len(seen) != len(tt.first) {
				t.Errorf("only %v ever come first", seen)
			}
		})
	}
}

// TestMove plays what a herd and a restart do: each node that leaves goes to the first one named, by counts that are old.
func TestMove(t *testing.T) {
	streams := map[string]int{"a": 500, "b": 500, "c": 0}
	for round := range 60 {
		old := make(map[string]int)
		for k, n := range streams {
			old[k] = n
		}
		for at := range old {
			var others []balance.Load
			for other, n := range old {
				if other != at {
					others = append(others, balance.Load{Address: other, Streams: n})
				}
			}
			for range min(balance.Surplus(old[at], others), 1+old[at]/20) {
				streams[at]--
				streams[balance.Order(old[at], others, rand.N[int])[0]]++
			}
		}
		if round == 59 {
			lowest, highest := min(streams["a"], streams["b"], streams["c"]), max(streams["a"], streams["b"], streams["c"])
			if float64(highest) > 1.3*float64(lowest) {
				t.Errorf("after %d rounds: %v", round+1, streams)
			}
		}
	}
}

func TestSurplus(t *testing.T) {
	tests := []struct {
		name   string
		own    int
		others []balance.Load
		want   int
	}{
		{"alone", 1000, nil, 0},
		{"a new one", 500, []balance.Load{{"a", 500}, {"b", 0}}, 166},
		{"a little more is fine", 350, []balance.Load{{"a", 330}, {"b", 320}}, 0},
		{"fewer", 1, []balance.Load{{"a", 330}}, 0},
		{"one node is nobody's surplus", 1, []balance.Load{{"a", 0}, {"b", 0}}, 0},
		{"few nodes", 3, []balance.Load{{"a", 0}, {"b", 0}}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := balance.Surplus(tt.own, tt.others); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}
