// SPDX-License-Identifier: Apache-2.0

package rank

import "testing"

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		most int
		want int
	}{
		{"issue", "issue", 2, 0},
		{"isue", "issue", 2, 1},
		{"issuee", "issue", 2, 1},
		{"ossue", "issue", 2, 1},
		{"isseu", "issue", 2, 1},
		{"shcedlue", "schedule", 2, 2},
		{"branch", "repository", 2, 3},
		{"abcdef", "ghijkl", 1, 2},
	} {
		if got := distance(row.a, row.b, row.most); got != row.want {
			t.Errorf("distance of %s and %s within %d: got %d, want %d", row.a, row.b, row.most, got, row.want)
		}
		if got := distance(row.b, row.a, row.most); got != row.want {
			t.Errorf("distance of %s and %s within %d: got %d, want %d", row.b, row.a, row.most, got, row.want)
		}
	}
}
