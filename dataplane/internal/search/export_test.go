// SPDX-License-Identifier: Apache-2.0

package search

// Indexes is the number of indexes that are kept.
func Indexes(s *Search) (n int) {
	s.indexes.made.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// Signature is what is shown of an input schema.
func Signature(schema string) string { return signature([]byte(schema)) }
