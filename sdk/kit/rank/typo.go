// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"math/bits"
	"slices"
	"strings"
)

// shortest is the length in bytes from which a word is taken for a typing error of another; with twice that length it may have two.
const shortest = 4

// word is a word as it is written, and what stands for it in the index.
type word struct {
	text    string
	letters uint64 // which letters it has
	stem    string
	said    bool // the lexicon has it: it counts whoever asks
}

// spell collects what typing errors are corrected to: the words of the documents and of the lexicon's queries.
func (b *builder) spell() {
	add := func(text, stem string, said bool) {
		if len(text) >= shortest-1 && !strings.ContainsAny(text, "0123456789") {
			b.words = append(b.words, word{text, letters(text), stem, said})
		}
	}
	heard := map[string]string{}
	if b.lexicon != nil {
		heard = b.lexicon.heard
	}
	for text, stem := range heard {
		add(text, stem, true)
	}
	for text, term := range b.seen {
		if _, said := heard[text]; term >= 0 && !said {
			add(text, b.split.stem(text), false)
		}
	}
	slices.SortFunc(b.words, func(v, w word) int {
		if n := len(v.text) - len(w.text); n != 0 {
			return n
		}
		return strings.Compare(v.text, w.text)
	})
}

// letters has a bit for each letter of a word.
func letters(text string) uint64 {
	var set uint64
	for i := range len(text) {
		set |= 1 << (text[i] & 63)
	}
	return set
}

// corrections are the stems of the words that are nearest to what was typed, and their distance; none if nothing is near. Words that
// only documents have that are not kept do not count.
func (x *Index) corrections(s *scratch, typed string) ([]string, int) {
	near := s.likely[:0]
	if len(typed) < shortest || strings.ContainsAny(typed, "0123456789") {
		return near, 0
	}
	most, set := 1, letters(typed)
	if len(typed) >= 2*shortest {
		most = 2
	}
	from, _ := slices.BinarySearchFunc(x.words, len(typed)-most, func(w word, n int) int { return len(w.text) - n })
	for _, w := range x.words[from:] {
		if len(w.text) > len(typed)+most {
			break
		}
		if bits.OnesCount64(w.letters^set) > 2*most {
			continue
		}
		d := distance(typed, w.text, most)
		if d > most || !w.said && !x.has(s, w.stem) {
			continue
		}
		if d < most {
			most, near = d, near[:0]
		}
		if !slices.Contains(near, w.stem) {
			near = append(near, w.stem)
		}
	}
	return near, most
}

// has tells whether a kept document has the stem.
func (x *Index) has(s *scratch, stem string) bool {
	term, ok := x.terms[stem]
	return ok && slices.ContainsFunc(x.docs[x.first[term]:x.first[term+1]], func(d int32) bool { return s.kept[d] })
}

// distance is how many letters were left out, put in, replaced or swapped with their neighbour between two words (optimal string
// alignment), or more than most as soon as that is certain. It counts bytes: the index is of English words.
func distance(a, b string, most int) int {
	if len(a) > wordMax || len(b) > wordMax {
		return most + 1
	}
	var rows [3][wordMax + 1]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, two := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, two[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least > most {
			return most + 1
		}
	}
	return rows[len(a)%3][len(b)]
}
