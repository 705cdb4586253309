// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// values appends the words of a query that look like a name or a value to be put in, not like something that a tool says of itself:
// what is quoted, has a digit or a sign of paths and addresses inside, or is written like a name within a sentence (Anna, not SMS).
func values(s *splitter, list []string, query string) []string {
	quote, begins := rune(0), true
	for field := range strings.FieldsSeq(query) {
		first, size := utf8.DecodeRuneInString(field)
		if quote == 0 && strings.ContainsRune(`"“‘'`, first) && len(field) > size {
			quote = first
		}
		bare := strings.TrimRight(field, `.,;:!?)"”’'`)
		if quote != 0 || strings.ContainsAny(bare, `0123456789/@#=_.`) || !begins && unicode.IsUpper(first) && lowerFollows(field[size:]) {
			list = s.words(list, field)
		}
		last, _ := utf8.DecodeLastRuneInString(strings.TrimRight(field, ".,;:!?)"))
		if quote != 0 && last == map[rune]rune{'"': '"', '“': '”', '‘': '’', '\'': '\''}[quote] {
			quote = 0
		}
		begins = strings.ContainsAny(field[len(field)-1:], ".!?:")
	}
	return list
}
