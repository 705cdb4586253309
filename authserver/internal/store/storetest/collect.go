// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// collect checks CollectSecrets. Times are minutes; now is minute 1000, the grace ends at minute 940.
func collect(t *testing.T, s store.Store) {
	type version struct{ created, resolved int } // resolved 0 = never
	cases := []struct {
		name     string
		versions []version // v_0, v_1, …
		want     []string
	}{
		{"the only version stays", []version{{1, 0}}, []string{"v_0"}},
		{"the newest two stay, however old", []version{{1, 0}, {2, 0}}, []string{"v_0", "v_1"}},
		{"without proof nothing goes", []version{{1, 0}, {2, 0}, {3, 0}}, []string{"v_0", "v_1", "v_2"}},
		{"what a newer version in use replaced goes", []version{{1, 50}, {100, 0}, {200, 900}}, []string{"v_1", "v_2"}},
		{"what was never committed beside one in use goes", []version{{1, 0}, {2, 900}, {100, 0}, {110, 0}}, []string{"v_1", "v_2", "v_3"}},
		{
			"the one in use outlives two that were never committed",
			[]version{{1, 900}, {100, 0}, {110, 0}},
			[]string{"v_0", "v_1", "v_2"},
		},
		{"what was resolved within the grace stays", []version{{1, 950}, {100, 0}, {200, 990}}, []string{"v_0", "v_1", "v_2"}},
		{"what was made within the grace stays", []version{{941, 0}, {942, 0}, {943, 999}}, []string{"v_0", "v_1", "v_2"}},
		{
			"a version resolved right after another was made proves nothing",
			[]version{{100, 130}, {101, 0}, {102, 0}, {103, 0}},
			[]string{"v_0", "v_1", "v_2", "v_3"},
		},
		{
			"beyond the most nothing stays",
			[]version{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}},
			[]string{"v_2", "v_3", "v_4", "v_5", "v_6"},
		},
		{
			"beyond the most, what is in use stays",
			[]version{{1, 950}, {2, 0}, {895, 0}, {896, 0}, {897, 0}, {898, 0}, {899, 0}},
			[]string{"v_0", "v_2", "v_3", "v_4", "v_5", "v_6"},
		},
	}
	minute := func(n int) time.Time { return epoch().Add(time.Duration(n) * time.Minute) }
	for i, c := range cases {
		for v, n := range c.versions {
			put(t, s, store.Secret{
				Connection: fmt.Sprint("c", i), Version: fmt.Sprint("v_", v), KeyID: "local/1", Sealed: []byte("x"), CreateTime: minute(n.created),
			})
			if n.resolved != 0 {
				must(t, s.TouchSecret(t.Context(), fmt.Sprint("c", i), fmt.Sprint("v_", v), minute(n.resolved)))
			}
		}
	}
	before := total(t, s)
	n, err := s.CollectSecrets(t.Context(), store.Collection{Before: minute(940), Keep: 2, Settled: time.Hour, Most: 5})
	must(t, err)
	if after := total(t, s); before-after != n {
		t.Errorf("collected %d by its own count, but %d are gone", n, before-after)
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { same(t, versions(t, s, fmt.Sprint("c", i)), c.want) })
	}
}

func total(t *testing.T, s store.Store) int {
	t.Helper()
	all, err := s.SecretsNotUnder(t.Context(), "none", "", "", 1000)
	must(t, err)
	return len(all)
}
