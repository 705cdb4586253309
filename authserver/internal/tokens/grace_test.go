// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"net/http"
	"testing"
	"time"
)

// TK-6, TK-9: the grace of a replaced token ends with its grant.
func TestGraceEndsWithTheGrant(t *testing.T) {
	b := newBench(t)
	a, _ := b.login("c1")
	for range 3 {
		b.Advance(29 * 24 * time.Hour)
		if a = b.token(renew("c1", a.Next)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.raw)
		}
	}
	b.Advance(3*24*time.Hour - 10*time.Second) // 10 s before 90 days
	next := b.token(renew("c1", a.Next))
	if again := b.token(renew("c1", a.Next)); next.status != http.StatusOK || again.Next != next.Next {
		t.Fatalf("%d %s", again.status, again.raw)
	}
	b.Advance(10 * time.Second)
	refused(t, b.token(renew("c1", a.Next)), 400, "invalid_grant")
	refused(t, b.token(renew("c1", next.Next)), 400, "invalid_grant")
}
