// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"cmp"
	"slices"
)

// Options of one search.
type Options struct {
	Limit int              // hits at most; below 1: 8 (G-20)
	Keep  func(i int) bool // whether this caller may see document i; nil keeps all. It is asked once for each
	// Near is how near the meaning of document i is to that of the query, a cosine of −1 to 1, and false where that is not known; it is
	// asked for kept documents only. nil ranks by words alone.
	Near func(i int) (cosine float32, known bool)
}

// Hit is a document that was found.
type Hit struct {
	Doc   int     // its place in what New was given
	Score float64 // above 0; comparable within one result only
	Low   bool    // the document answers little of the query by its words: take it for a guess
	Guess bool    // it has no word of the query and is near in meaning alone; it is Low, too
}

// Result is the answer to a query.
type Result struct {
	Hits      []Hit    // best first, of equal ones the one that came first in New; none whose score is under a quarter of the best
	Unmatched []string // the words of the query, as typed but in lower case, that match no kept document
	Matches   int      // kept documents that match at all, however many hits were asked for
}

const (
	limitDefault = 8
	wordsMax     = 48 // words of a query that are looked at: G-20 allows 200 characters
)

// Search ranks the documents for a query in plain words. A query without a word that means anything finds nothing. The time goes with
// the number of documents that have a word of the query: well below a millisecond for 10,000 tools.
func (x *Index) Search(query string, o Options) Result {
	if o.Limit < 1 {
		o.Limit = limitDefault
	}
	s := x.scratch.Get().(*scratch)
	defer x.scratch.Put(s)
	s.keep(o.Keep)
	s.read(x, query)
	var r Result
	for i := range s.slots {
		if !x.slot(s, &s.slots[i]) {
			r.Unmatched = append(r.Unmatched, s.slots[i].typed)
		}
	}
	var m meaning
	if o.Near != nil {
		m = x.meanings(s, o.Near)
	}
	r.Hits, r.Matches = x.best(s, o.Limit, m)
	s.reset()
	return r
}

// slot is one word of the query and what else may be said for it.
type slot struct {
	typed string
	says  []say
	value bool // a name or a value, by its look: no tool need know it
	extra bool // of a phrase that is longer than what was typed: adds to scores, is not held against a document
}

// say is a term of the index that counts for a slot.
type say struct {
	stem  string
	worth float32 // 0…1
}

// scratch is the working memory of one search.
type scratch struct {
	words  []string
	values []string
	stems  []string
	slots  []slot
	likely []string // what a typing error may stand for

	kept    []bool    // by document: the caller may see it
	size    int       // kept documents
	score   []float32 // by document
	cover   []float32 // by document: what of the query it answers, in idf
	name    []float32 // by document: terms of its name that the query says
	touched []int32   // documents with a score
	now     []float32 // by document: the best of the present slot…
	nowName []bool    // …and whether that is in the name
	nowDocs []int32
	near    []float32 // by document: how near it is in meaning; nil until a search asks
	total   float32   // what the query would be worth if wholly answered, in idf
}

func newScratch(size int) *scratch {
	return &scratch{
		kept: make([]bool, size), score: make([]float32, size), cover: make([]float32, size), name: make([]float32, size), now: make([]float32, size), nowName: make([]bool, size),
	}
}

func (s *scratch) reset() {
	for _, d := range s.touched {
		s.score[d], s.cover[d], s.name[d] = 0, 0, 0
	}
	s.touched, s.total = s.touched[:0], 0
}

// keep asks once for every document whether it is kept.
func (s *scratch) keep(keep func(int) bool) {
	s.size = 0
	for d := range s.kept {
		s.kept[d] = keep == nil || keep(d)
		if s.kept[d] {
			s.size++
		}
	}
}

// read turns a query into slots.
func (s *scratch) read(x *Index, query string) {
	s.words = x.split.words(s.words[:0], query[:min(len(query), textMax)])
	s.stems, s.slots = s.stems[:0], s.slots[:0]
	s.values = values(x.split, s.values[:0], query[:min(len(query), textMax)])
	kept := 0
	for _, word := range s.words {
		if !x.split.stop[word] && kept < wordsMax && !slices.Contains(s.words[:kept], word) {
			s.words[kept] = word
			kept++
		}
	}
	s.words = s.words[:kept]
	for _, word := range s.words {
		stem := x.split.stem(word)
		s.stems = append(s.stems, stem)
		q := s.slot(word)
		q.say(stem, 1)
		q.value = slices.Contains(s.values, word)
	}
	for i := 0; i+1 < kept; i++ {
		joined := x.split.stem(s.words[i] + s.words[i+1])
		if _, ok := x.terms[joined]; ok {
			s.slots[i].say(joined, x.tuning.joined)
			s.slots[i+1].say(joined, x.tuning.joined)
		}
	}
	if x.lexicon == nil {
		return
	}
	for i := range s.stems {
		at(x.lexicon.phrases, s.stems, i, func(p phrase) { s.means(p, i, x.tuning.means) })
	}
}

// means adds to the slots from the given one on what the lexicon has for them.
func (s *scratch) means(p phrase, from int, worth float32) {
	for _, m := range p.means {
		for j := range max(len(m), len(p.stems)) {
			stem := m[min(j, len(m)-1)]
			if j < len(p.stems) {
				s.slots[from+j].say(stem, worth)
				continue
			}
			more := s.slot("")
			more.extra = true
			more.say(stem, worth)
		}
	}
}

// slot begins a slot, in memory that an earlier search left.
func (s *scratch) slot(typed string) *slot {
	if len(s.slots) == cap(s.slots) {
		s.slots = append(s.slots, slot{})
	} else {
		s.slots = s.slots[:len(s.slots)+1]
	}
	q := &s.slots[len(s.slots)-1]
	*q = slot{typed: typed, says: q.says[:0]}
	return q
}

func (q *slot) say(stem string, worth float32) { q.says = append(q.says, say{stem, worth}) }

// slot adds what one slot is worth to the scores, and tells whether any kept document answers it. A word that none of them has is
// taken for a typing error; that it is in documents that are not kept must not show.
func (x *Index) slot(s *scratch, q *slot) bool {
	most := x.say(s, q.says)
	if len(s.nowDocs) == 0 && !q.extra {
		near, letters := x.corrections(s, q.typed)
		s.likely = near
		worth := float32(1)
		for range letters {
			worth *= x.tuning.typo
		}
		for _, stem := range near {
			says := []say{{stem, worth}}
			if x.lexicon != nil {
				at(x.lexicon.phrases, []string{stem}, 0, func(p phrase) {
					for _, m := range p.means {
						for _, stem := range m {
							says = append(says, say{stem, worth * x.tuning.means})
						}
					}
				})
			}
			most = max(most, x.say(s, says))
		}
	}
	switch {
	case q.extra || q.value && most == 0:
		most = 0
	case most == 0:
		most = idf(s.size, 0)
	}
	s.total += most
	for _, d := range s.nowDocs {
		if s.score[d] == 0 {
			s.touched = append(s.touched, d)
		}
		s.score[d] += s.now[d]
		if !q.extra {
			s.cover[d] += s.now[d]
		}
		if s.nowName[d] {
			s.name[d]++
		}
		s.now[d], s.nowName[d] = 0, false
	}
	found := len(s.nowDocs) > 0
	s.nowDocs = s.nowDocs[:0]
	return found || q.extra
}

// say notes for every kept document the best of what is said, and returns what the slot is worth: the idf of its most telling word.
// Counts are of kept documents only, so that nothing about others shows in scores.
func (x *Index) say(s *scratch, says []say) float32 {
	most, own := float32(0), float32(0)
	for i, said := range says {
		term, ok := x.terms[said.stem]
		if !ok {
			continue
		}
		from, to, with := x.first[term], x.first[term+1], 0
		for _, d := range x.docs[from:to] {
			if s.kept[d] {
				with++
			}
		}
		if with == 0 {
			continue
		}
		telling := idf(s.size, with)
		if own > 0 {
			telling = min(telling, own) // a word of the lexicon tells no more than the one that was typed
		} else if i == 0 {
			own = telling
		}
		telling *= said.worth
		most = max(most, telling)
		for at := from; at < to; at++ {
			d := x.docs[at]
			if !s.kept[d] {
				continue
			}
			if s.now[d] == 0 {
				s.nowDocs = append(s.nowDocs, d)
			}
			s.now[d] = max(s.now[d], x.worth[at]*telling)
			s.nowName[d] = s.nowName[d] || x.named[at]
		}
	}
	return most
}

// best are the highest scores, as far as they are near the highest, and the number of documents that match.
func (x *Index) best(s *scratch, limit int, m meaning) (hits []Hit, matches int) {
	matches = len(s.touched)
	if m == nil {
		for _, d := range s.touched {
			h, _ := x.hit(s, d)
			hits = top(hits, h, limit)
		}
	} else {
		var guesses int
		hits, guesses = x.blend(s, limit, m)
		matches += guesses
	}
	for len(hits) > 1 && hits[len(hits)-1].Score < float64(x.tuning.trim)*hits[0].Score {
		hits = hits[:len(hits)-1]
	}
	return hits, matches
}

// hit is a document with a word of the query, and how sure it is by its words, 0…1.
func (x *Index) hit(s *scratch, d int32) (h Hit, sure float32) {
	answered, named := s.cover[d]/max(s.total, 1e-3), min(1, s.name[d]/max(1, x.names[d]))
	score := s.score[d] * (x.tuning.floor + (1-x.tuning.floor)*answered) * (1 + x.tuning.bonus*named)
	sure = (1-x.tuning.sure)*answered + x.tuning.sure*named
	return Hit{Doc: int(d), Score: float64(score), Low: sure < x.tuning.low}, sure
}

// top puts a hit where it belongs among those with the highest scores, of which there are at most limit.
func top(hits []Hit, h Hit, limit int) []Hit {
	if len(hits) == limit && h.Score < hits[limit-1].Score {
		return hits
	}
	at, _ := slices.BinarySearchFunc(hits, h, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Doc, b.Doc))
	})
	if hits = slices.Insert(hits, at, h); len(hits) > limit {
		hits = hits[:limit]
	}
	return hits
}
