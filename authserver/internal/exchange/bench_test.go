// SPDX-License-Identifier: Apache-2.0

package exchange_test

import "testing"

// What a node's miss costs here while a token that was exchanged for the caller is at hand.
func BenchmarkResolve(b *testing.B) {
	w := newWorld(b)
	w.signIn("ada")
	w.want("ada", false)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.resolve("ada", false); err != nil {
			b.Fatal(err)
		}
	}
}
