// SPDX-License-Identifier: Apache-2.0

package vault_test

import "testing"

// What a node's miss of static headers costs here: a read of the store, and the opening of what is sealed.
func BenchmarkResolve(b *testing.B) {
	v := newBench(b)
	version, err := v.Put(b.Context(), "c1", sample())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Resolve(b.Context(), "c1", version); err != nil {
			b.Fatal(err)
		}
	}
}
