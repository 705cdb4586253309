// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"strings"
	"unicode"

	"github.com/kljensen/snowball/english"
)

// wordMax is the longest word that is looked at, in bytes: longer ones are identifiers or data.
const wordMax = 40

// stopWords say nothing about which tool is meant: articles, pronouns, prepositions, and what people say around a request.
const stopWords = `a an the this that these those it its is are was were be been being am do does did doing
i me my mine we us our ours you your yours he she they them their his her who whom
and or nor but if then so than as of to in on at by for with from into onto about via per within under
can could will would shall should may might must please want wants wanted need needs needed like let lets help
some any each every such very just also too there here how what which when where why
have has had having not no yes ok e g eg ie etc s t re ve ll d m`

// splitter cuts text into lower-case words and knows the stems that it has made. It is not safe for concurrent use.
type splitter struct {
	stop  map[string]bool
	stems map[string]string // nil: nothing is kept
}

func newSplitter(keep bool) *splitter {
	s := &splitter{stop: map[string]bool{}}
	for word := range strings.FieldsSeq(stopWords) {
		s.stop[word] = true
	}
	if keep {
		s.stems = map[string]string{}
	}
	return s
}

// words appends the words of the text to the list: cut at everything that is neither letter nor digit, and before a capital that
// begins a word (listPullRequests, HTTPServer); "s3" and "oauth2" stay whole.
func (s *splitter) words(list []string, text string) []string {
	start, prev, before := -1, rune(0), rune(0)
	cut := func(end int) {
		if start >= 0 && end-start <= wordMax {
			list = append(list, strings.ToLower(text[start:end]))
		}
		start = -1
	}
	last := 0 // where prev began
	for i, r := range text {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			if (r == '\'' || r == '’') && start >= 0 { // don't, server's: the rest is a stop word or nothing
				cut(i)
				prev, before, last = r, 0, i
				continue
			}
			cut(i)
			r = 0
		case start < 0:
			start = i
		case unicode.IsUpper(r) && (unicode.IsLower(prev) || unicode.IsDigit(prev)):
			cut(i)
			start = i
		case unicode.IsLower(r) && unicode.IsUpper(prev) && unicode.IsUpper(before) && last > start:
			if r == 's' && !lowerFollows(text[i+1:]) { // URLs, PRs
				break
			}
			cut(last)
			start = last
		}
		before, prev, last = prev, r, i
	}
	cut(len(text))
	return list
}

// lowerFollows tells whether a lower-case letter is next.
func lowerFollows(text string) bool {
	for _, r := range text {
		return unicode.IsLower(r)
	}
	return false
}

// stem is the Porter2 stem of a lower-case word.
func (s *splitter) stem(word string) string {
	if s.stems == nil {
		return english.Stem(word, true)
	}
	if stem, ok := s.stems[word]; ok {
		return stem
	}
	stem := english.Stem(word, true)
	s.stems[word] = stem
	return stem
}

// terms are the stems of a text without its stop words.
func (s *splitter) terms(text string) []string {
	var terms []string
	for _, word := range s.words(nil, text) {
		if !s.stop[word] {
			terms = append(terms, s.stem(word))
		}
	}
	return terms
}
