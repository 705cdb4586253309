// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"bytes"
	"testing"
	"time"
)

// A hit lies on the path of every call with a credential.
func BenchmarkHit(b *testing.B) {
	c := newClient(b, &authserver{life: 15 * time.Minute, value: canary}, new(bytes.Buffer), 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Resolve(b.Context(), wanted("c1", "v_1", user("ada"))); err != nil {
			b.Fatal(err)
		}
	}
}
