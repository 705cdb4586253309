// SPDX-License-Identifier: Apache-2.0

package rank

import (
	"math"
	"strings"
	"sync"
)

// Document is one tool to be found. Texts are used by [New] and not kept.
type Document struct {
	Name        string // "github__create_issue"; what is before "__" counts as the server's name
	Title       string
	Description string
	Arguments   []Argument
}

// Argument is one argument of a tool, in any order.
type Argument struct {
	Name        string
	Description string
}

// textMax is how much of one text is read, in bytes: what makes a tool findable is at the beginning.
const textMax = 4096

// Fields of a document, in the order of tuning's weights.
const (
	inName = iota
	inServer
	inTitle
	inDescription
	inArgument
	inArgumentDescription
	inGloss
	fields
)

// tuning is the constants of the ranking. They were chosen on the tuning half of deploy/bench/search.
type tuning struct {
	k1      float32         // how soon repetition stops counting
	weight  [fields]float32 // of one occurrence in a field
	length  [fields]float32 // 0…1: how much a long field is held against it
	usual   [fields]float32 // words of a field of usual length: of the tools of deploy/bench/search, never of the documents at hand
	means   float32         // worth of a word that the lexicon gives for one of the query
	joined  float32         // worth of two words of the query written as one
	typo    float32         // worth of a correction, once for each letter
	floor   float32         // share of the score that does not depend on how much of the query was answered
	bonus   float32         // added for a name that the query says wholly
	sure    float32         // share that the name has in how sure a hit is; the rest is how much of the query was answered
	trim    float32         // share of the best score below which nothing is a hit: results are not padded
	low     float32         // how sure a hit is at least that is not Low
	meaning float32         // share that nearness in meaning has in a score, where it is known…
	trust   float32         // …and how much of it goes where the best hit by words is sure
}

func tuned() tuning {
	return tuning{
		k1:     2,
		weight: [fields]float32{inName: 3.2, inServer: 5, inTitle: 3, inDescription: 1.5, inArgument: 1.5, inArgumentDescription: 0.4, inGloss: 1.25},
		length: [fields]float32{inName: 0.8, inServer: 0, inTitle: 0.3, inDescription: 0.6, inArgument: 0.5, inArgumentDescription: 0.2, inGloss: 0.2},
		usual:  [fields]float32{inName: 3, inServer: 1, inTitle: 2, inDescription: 34, inArgument: 6, inArgumentDescription: 28, inGloss: 13},
		means:  0.75, joined: 0.9, typo: 0.8, floor: 0.2, bonus: 0.9, sure: 0.3, trim: 0.25, low: 0.34, meaning: 0.4, trust: 0.5,
	}
}

// Index finds documents. It is immutable and safe for concurrent use.
type Index struct {
	lexicon *Lexicon
	tuning  tuning
	split   *splitter // without a memory: safe for concurrent use
	size    int       // documents

	terms map[string]int32 // stem → term
	first []uint32         // by term: its postings are first[t]…first[t+1]
	docs  []int32          // postings: document…
	worth []float32        // …and how much the document is about the term, 0…1
	named []bool           // …and whether it is in the name

	names   []float32 // by document: how many different terms its name has
	words   []word    // what typing errors are corrected to, by length
	scratch sync.Pool // of *scratch
}

// New builds the index of documents, with a lexicon or (nil) without. 10,000 tools take less than a second. An index keeps no text of
// the documents.
func New(documents []Document, lexicon *Lexicon) *Index {
	return build(documents, lexicon, tuned())
}

func build(documents []Document, lexicon *Lexicon, t tuning) *Index {
	b := builder{
		Index: &Index{tuning: t, lexicon: lexicon, split: newSplitter(false), size: len(documents), terms: map[string]int32{}},
		split: newSplitter(true), seen: map[string]int32{},
	}
	b.scratch.New = func() any { return newScratch(len(documents)) }
	for _, d := range documents {
		b.read(d)
	}
	b.post()
	b.spell()
	return b.Index
}

// Size is the number of documents.
func (x *Index) Size() int { return x.size }

// builder is the state of New.
type builder struct {
	*Index
	split *splitter
	seen  map[string]int32 // word → term, -1 for a stop word
	list  []string         // of one text, reused

	tokens []int32          // the terms of all documents, field after field
	ends   [][fields]uint32 // by document: where its fields end in tokens
}

// read splits a document into terms.
func (b *builder) read(d Document) {
	server, name, found := strings.Cut(d.Name, "__")
	if !found {
		server, name = "", d.Name
	}
	var ends [fields]uint32
	for field, text := range []string{inName: name, inServer: server, inTitle: d.Title, inDescription: d.Description} {
		b.text(text)
		ends[field] = uint32(len(b.tokens))
	}
	for _, a := range d.Arguments {
		b.text(a.Name)
	}
	ends[inArgument] = uint32(len(b.tokens))
	for _, a := range d.Arguments {
		b.text(a.Description)
	}
	ends[inArgumentDescription] = uint32(len(b.tokens))
	b.gloss(name)
	b.gloss(d.Title)
	ends[inGloss] = uint32(len(b.tokens))
	b.ends = append(b.ends, ends)
}

// text appends the terms of a text.
func (b *builder) text(text string) {
	b.list = b.split.words(b.list[:0], text[:min(len(text), textMax)])
	for _, word := range b.list {
		term, ok := b.seen[word]
		if !ok {
			term = -1
			if !b.split.stop[word] {
				term = b.term(b.split.stem(word))
			}
			b.seen[word] = term
		}
		if term >= 0 {
			b.tokens = append(b.tokens, term)
		}
	}
}

func (b *builder) term(stem string) int32 {
	term, ok := b.terms[stem]
	if !ok {
		term = int32(len(b.terms))
		b.terms[stem] = term
	}
	return term
}

// gloss appends plain words for what a name says.
func (b *builder) gloss(name string) {
	if b.lexicon == nil || name == "" {
		return
	}
	said := b.split.terms(name)
	for i := range said {
		at(b.lexicon.gloss, said, i, func(p phrase) {
			for _, plain := range p.means {
				for _, stem := range plain {
					b.tokens = append(b.tokens, b.term(stem))
				}
			}
		})
	}
}

// post turns the tokens into postings: BM25F (Robertson, Zaragoza and Taylor, 2004), all that depends neither on the query nor on who
// asks reckoned beforehand. Lengths are held against a usual length, not against the mean of the documents, which would tell callers
// of documents that they may not see.
func (b *builder) post() {
	t := b.tuning
	terms := len(b.terms)
	counts, weights, touched := make([]uint32, terms+1), make([]float32, terms), make([]int32, 0, 256)
	// each calls do with every term of a document and what its occurrences weigh.
	each := func(d int, do func(term int32, weight float32, named bool)) {
		touched = touched[:0]
		from := uint32(0)
		if d > 0 {
			from = b.ends[d-1][fields-1]
		}
		named := 0
		for field := range fields {
			to := b.ends[d][field]
			norm := 1 - t.length[field] + t.length[field]*float32(to-from)/t.usual[field]
			for _, term := range b.tokens[from:to] {
				if weights[term] == 0 {
					touched = append(touched, term)
				}
				weights[term] += t.weight[field] / norm
			}
			if field == inServer {
				named = len(touched)
			}
			from = to
		}
		for i, term := range touched {
			do(term, weights[term], i < named)
			weights[term] = 0
		}
	}
	for d := range b.size {
		each(d, func(term int32, _ float32, _ bool) { counts[term]++ })
	}
	b.first = make([]uint32, terms+1)
	for term := range terms {
		b.first[term+1] = b.first[term] + counts[term]
		counts[term] = b.first[term] // from here on where its next posting goes
	}
	n := b.first[terms]
	b.docs, b.worth, b.named, b.names = make([]int32, n), make([]float32, n), make([]bool, n), make([]float32, b.size)
	for d := range b.size {
		each(d, func(term int32, weight float32, named bool) {
			i := counts[term]
			counts[term]++
			b.docs[i], b.worth[i], b.named[i] = int32(d), weight/(t.k1+weight), named
			if named {
				b.names[d]++
			}
		})
	}
}

// idf is what a term is worth that so many of the documents have.
func idf(documents, with int) float32 {
	return float32(math.Log(1 + (float64(documents-with)+0.5)/(float64(with)+0.5)))
}
