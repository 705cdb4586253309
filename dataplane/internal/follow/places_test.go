// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestPlaces compares the index with a plain set, over many changes.
func TestPlaces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var p places
	want := make(map[[2]string]bool)
	for range 20_000 {
		tool, gateway := fmt.Sprintf("t%d", random.IntN(6)), fmt.Sprintf("g%d", random.IntN(5))
		if random.IntN(2) == 0 {
			p.put(tool, gateway)
			want[[2]string{tool, gateway}] = true
		} else {
			p.remove(tool, gateway)
			delete(want, [2]string{tool, gateway})
		}
		var got, all []string
		p.of(tool, func(g string) { got = append(got, g) })
		for pair := range want {
			if pair[0] == tool {
				all = append(all, pair[1])
			}
		}
		slices.Sort(got)
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Fatalf("%s is on %v, want %v", tool, got, all)
		}
	}
	for pair := range want {
		p.remove(pair[0], pair[1])
	}
	if len(p.first)+len(p.more) > 0 {
		t.Errorf("%d and %d entries are left of nothing", len(p.first), len(p.more))
	}
}
