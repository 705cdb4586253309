// SPDX-License-Identifier: Apache-2.0

package upstream_test

import "testing"

// What a node's miss costs here while there is a good token: of a grant, and of a client of Penstock's own.
func BenchmarkResolve(b *testing.B) {
	b.Run("grant", func(b *testing.B) {
		w := newWorld(b)
		version := w.grant()
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := w.resolve(w.up, version, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("service", func(b *testing.B) {
		w := newService(b)
		w.wantService(false, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := w.service(false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
