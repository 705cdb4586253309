// SPDX-License-Identifier: Apache-2.0

package balance

import (
	"cmp"
	"slices"
)

// Load is one control plane that takes nodes.
type Load struct {
	Address string
	Streams int
}

// Order returns the addresses of others, the one that should get the next node first; own is what the one that asks has.
// One that has fewer than its share comes first with a probability as large as what it lacks, so that many nodes that leave
// at one moment go where there is room and not all to one place; the rest follows by load. pick returns a random number in
// [0, n).
func Order(own int, others []Load, pick func(n int) int) []string {
	list := slices.Clone(others)
	for i := len(list) - 1; i > 0; i-- { // equal ones in any order
		j := pick(i + 1)
		list[i], list[j] = list[j], list[i]
	}
	slices.SortStableFunc(list, func(a, b Load) int { return cmp.Compare(a.Streams, b.Streams) })
	share := shareOf(own, list)
	lack := 0
	for _, l := range list {
		lack += max(0, share-l.Streams)
	}
	if lack > 0 {
		n := pick(lack)
		for i, l := range list {
			if n -= max(0, share-l.Streams); n < 0 {
				list = slices.Insert(slices.Delete(list, i, i+1), 0, l)
				break
			}
		}
	}
	out := make([]string, len(list))
	for i, l := range list {
		out[i] = l.Address
	}
	return out
}

// shareOf is what each has when all have as many, rounded up.
func shareOf(own int, others []Load) int {
	total := own
	for _, l := range others {
		total += l.Streams
	}
	return (total + len(others)) / (len(others) + 1)
}

// tolerance is how much more than its share a control plane may have before it sends nodes away: less is not worth a
// reconnect, and counts are a little old.
const tolerance = 1.05

// Surplus returns how many nodes one that has own of them should send away: 0 unless they are far more than its share.
func Surplus(own int, others []Load) int {
	if len(others) == 0 {
		return 0
	}
	share := shareOf(own, others)
	if float64(own) <= tolerance*float64(share)+1 {
		return 0
	}
	return own - share
}
