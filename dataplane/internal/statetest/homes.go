// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
)

// Homes runs the suite of [home.Store]. open returns an empty store.
func Homes(t *testing.T, open func(t *testing.T) home.Store) {
	s := open(t)
	wants := func(step string, keys []string, node string, ttl time.Duration, want ...string) {
		t.Helper()
		got, err := s.Claim(t.Context(), keys, node, ttl)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", step, got, err, want)
		}
	}
	keys := []string{"c-1:user:u-1", "c-1:user:u-2", "c-2:{x}", "c-3:user:u 3"}
	wants("the first claims", keys[:2], "a", time.Minute, "a", "a")
	wants("another claims some, and some that are new", keys, "b", time.Minute, "a", "a", "b", "b")
	wants("the first renews", keys[:3], "a", time.Minute, "a", "a", "b")
	for _, node := range []string{"b", "c"} {
		if err := s.Release(t.Context(), keys[:2], node); err != nil {
			t.Fatal(err)
		}
	}
	wants("after others gave it up", keys[:2], "c", time.Minute, "a", "a")
	if err := s.Release(t.Context(), keys, "a"); err != nil {
		t.Fatal(err)
	}
	wants("after its home gave it up", keys, "c", time.Minute, "c", "c", "b", "b")
	wants("a short lease", []string{"short"}, "a", 50*time.Millisecond, "a")
	eventually(t, func() bool {
		got, err := s.Claim(t.Context(), []string{"short"}, "b", time.Minute)
		return err == nil && got[0] == "b"
	})
	wants("a lease that is renewed by a shorter one", []string{"short"}, "b", 50*time.Millisecond, "b")
	eventually(t, func() bool {
		got, err := s.Claim(t.Context(), []string{"short"}, "c", time.Minute)
		return err == nil && got[0] == "c"
	})
	wants("nothing", nil, "a", time.Minute)
}
