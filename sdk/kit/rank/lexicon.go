// SPDX-License-Identifier: Apache-2.0

package rank

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed lexicon.txt
var standard string

// lexiconMax is the longest lexicon, in bytes, and phraseMax the longest phrase in it, in words without stop words.
const (
	lexiconMax = 1 << 20
	phraseMax  = 5
)

// Lexicon is what words and phrases of the domain mean to each other. It is immutable. A nil Lexicon is empty.
type Lexicon struct {
	phrases map[string][]phrase // by first stem: what a query may say, and what a tool may say in its place
	gloss   map[string][]phrase // by first stem: what the name of a tool may say, and plain words for it
	heard   map[string]string   // words of queries, for the correction of typing errors → stem
}

// phrase is one or more stems in a row and what else may be said.
type phrase struct {
	stems []string
	means [][]string
}

// Standard returns the lexicon that comes with Penstock (lexicon.txt). It is parsed at each call: keep it. It fails only if the file
// that was built in is broken.
func Standard() (*Lexicon, error) {
	return (*Lexicon)(nil).With(standard)
}

// With returns the lexicon with the entries of the text added: one a line, phrases parted by commas, letter case and word forms
// (create, creates, created) immaterial. "#" begins a comment. There are three kinds of entry:
//
//	pull request = merge request = pr     a query may say any of these where a tool says another
//	somebody > user, member               a query that says the left may mean a tool that says one of the right
//	delete : remove, erase, get rid of    a tool whose name says the left is described by the right as well
//
// It fails with the number of the line that is none of these, has an empty side, or a phrase of more than five words; and if the text
// is longer than 1 MiB.
func (l *Lexicon) With(text string) (*Lexicon, error) {
	if len(text) > lexiconMax {
		return nil, fmt.Errorf("read lexicon: %d bytes, at most %d", len(text), lexiconMax)
	}
	n := &Lexicon{phrases: map[string][]phrase{}, gloss: map[string][]phrase{}, heard: map[string]string{}}
	if l != nil {
		n.copy(l)
	}
	s := newSplitter(true)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := n.entry(s, line); err != nil {
			return nil, fmt.Errorf("read lexicon: line %d: %w", number, err)
		}
	}
	return n, nil
}

func (l *Lexicon) copy(from *Lexicon) {
	for _, pair := range []struct{ to, from map[string][]phrase }{{l.phrases, from.phrases}, {l.gloss, from.gloss}} {
		for first, list := range pair.from {
			for _, p := range list {
				pair.to[first] = append(pair.to[first], phrase{p.stems, append([][]string(nil), p.means...)})
			}
		}
	}
	maps.Copy(l.heard, from.heard)
}

func (l *Lexicon) entry(s *splitter, line string) error {
	switch kind := strings.IndexAny(line, "=>:"); {
	case kind < 0:
		return fmt.Errorf("%q is none of: a = b, a > b, a : b", line)
	case line[kind] == '=':
		sides, err := l.side(s, strings.Split(line, "="))
		if err != nil {
			return err
		}
		for i, from := range sides {
			for j, to := range sides {
				if i != j {
					add(s, l.phrases, from, to)
				}
			}
			l.hear(s, from)
		}
	default:
		froms, err := l.side(s, strings.Split(line[:kind], ","))
		if err != nil {
			return err
		}
		tos, err := l.side(s, strings.Split(line[kind+1:], ","))
		if err != nil {
			return err
		}
		to := l.phrases
		if line[kind] == ':' {
			to = l.gloss
		}
		for _, from := range froms {
			for _, t := range tos {
				add(s, to, from, t)
			}
			if line[kind] == '>' {
				l.hear(s, from)
			}
		}
	}
	return nil
}

// side is the words of phrases, without stop words.
func (l *Lexicon) side(s *splitter, texts []string) ([][]string, error) {
	list := make([][]string, 0, len(texts))
	for _, text := range texts {
		var words []string
		for _, word := range s.words(nil, text) {
			if !s.stop[word] {
				words = append(words, word)
			}
		}
		if len(words) == 0 || len(words) > phraseMax || strings.ContainsAny(text, "=>:") {
			return nil, fmt.Errorf("%q: want one to %d words that are no stop words", strings.TrimSpace(text), phraseMax)
		}
		list = append(list, words)
	}
	return list, nil
}

// hear remembers the words of a phrase that a query may say.
func (l *Lexicon) hear(s *splitter, words []string) {
	for _, word := range words {
		l.heard[word] = s.stem(word)
	}
}

// add enters that from may be said as to.
func add(s *splitter, into map[string][]phrase, from, to []string) {
	from, to = stems(s, from), stems(s, to)
	list := into[from[0]]
	for i := range list {
		if slices.Equal(list[i].stems, from) {
			list[i].means = append(list[i].means, to)
			return
		}
	}
	into[from[0]] = append(list, phrase{from, [][]string{to}})
}

func stems(s *splitter, words []string) []string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = s.stem(word)
	}
	return list
}

// at calls do with every phrase of the table that the stems say at place i.
func at(table map[string][]phrase, stems []string, i int, do func(p phrase)) {
	for _, p := range table[stems[i]] {
		if len(p.stems) <= len(stems)-i && slices.Equal(p.stems, stems[i:i+len(p.stems)]) {
			do(p)
		}
	}
}
