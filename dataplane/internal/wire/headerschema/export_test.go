// SPDX-License-Identifier: Apache-2.0

package headerschema

// Len is the number of entries.
func Len[T any](c *Cache[T]) (n int) {
	c.entries.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
