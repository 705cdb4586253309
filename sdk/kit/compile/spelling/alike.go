// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"unicode"
	"unicode/utf8"
)

// Alike reports whether a server may take two names for one. Equal names are alike.
func Alike[A, B string | []byte](a A, b B) bool {
	i, j := 0, 0
	for {
		var x, y rune
		x, i = next(a, i)
		y, j = next(b, j)
		if x != y {
			return false
		}
		if x == end {
			return true
		}
	}
}

// end stands for the end of a name.
const end rune = -1

// next returns the character at i or the first after it that counts, folded, and where to go on.
func next[T string | []byte](name T, i int) (r rune, after int) {
	for i < len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '-':
			i++
		case 'a' <= c && c <= 'z':
			return rune(c - 'a' + 'A'), i + 1
		case c < utf8.RuneSelf:
			return rune(c), i + 1
		default:
			r, n := decode(name, i)
			return fold(r), i + n
		}
	}
	return end, i
}

// decode reads the character at i, of at most four bytes.
func decode[T string | []byte](name T, i int) (r rune, n int) {
	var room [utf8.UTFMax]byte
	n = copy(room[:], name[i:min(i+utf8.UTFMax, len(name))])
	return utf8.DecodeRune(room[:n])
}

// fold returns the least of the characters that differ only in letter case: of U+017F that is S, of U+212A it is K.
func fold(r rune) rune {
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	return least
}
