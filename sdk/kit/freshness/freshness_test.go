// SPDX-License-Identifier: Apache-2.0

package freshness_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/freshness"
)

// TestLifetime is RFC 9111 §4.2.1, §5.2.2 and §5.3.
func TestLifetime(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const unstated = 7 * time.Hour
	for _, tc := range []struct {
		name string
		h    http.Header
		want time.Duration
	}{
		{"nothing said", http.Header{}, unstated},
		{"max-age", http.Header{"Cache-Control": {"public, max-age=3600"}}, time.Hour},
		{"max-age, some of it gone", http.Header{"Cache-Control": {"max-age=3600"}, "Age": {"600"}}, 50 * time.Minute},
		{"all of it gone", http.Header{"Cache-Control": {"max-age=60"}, "Age": {"600"}}, -9 * time.Minute},
		{"in quotes", http.Header{"Cache-Control": {`max-age="60"`}}, time.Minute},
		{"in another letter case", http.Header{"Cache-Control": {"Max-Age=60"}}, time.Minute},
		{"in two headers", http.Header{"Cache-Control": {"public", "max-age=60"}}, time.Minute},
		{"no number", http.Header{"Cache-Control": {"max-age=x"}}, 0},
		{"Expires", http.Header{"Expires": {"Fri, 01 May 2026 12:30:00 GMT"}}, 30 * time.Minute},
		{"max-age before Expires", http.Header{"Expires": {"Fri, 01 May 2026 12:30:00 GMT"}, "Cache-Control": {"max-age=60"}}, time.Minute},
		{"Expires that is no date", http.Header{"Expires": {"0"}}, unstated},
		{"no-store", http.Header{"Cache-Control": {"max-age=3600, no-store"}}, 0},
		{"no-cache", http.Header{"Cache-Control": {"no-cache"}}, 0},
	} {
		if got := freshness.Lifetime(tc.h, now, unstated); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
