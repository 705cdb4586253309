// SPDX-License-Identifier: Apache-2.0

package rank

import "strings"

// guessesMax is how many documents a query may find by meaning alone. It does not depend on the limit, so that the number of matches does
// not either.
const guessesMax = 8

// textDescription is how much of a description is part of [Document.Text], in bytes.
const textDescription = 300

// Text is what stands for a document where its meaning is looked at as a whole: the words of its names, its title, and the beginning of
// its description.
func (d Document) Text() string {
	var b strings.Builder
	split := newSplitter(false)
	b.WriteString(strings.Join(split.words(nil, d.Name), " "))
	for _, text := range []string{d.Title, d.Description[:min(len(d.Description), textDescription)]} {
		if text != "" {
			b.WriteString(". " + text)
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}

// meaning is what Options.Near says of each document. Cosines of one model lie elsewhere than those of another, so only where a
// document stands between the mean and the nearest of the kept ones counts: 0 at the mean and below, 1 for the nearest.
type meaning []float32

// meanings asks how near the kept documents are.
func (x *Index) meanings(s *scratch, near func(int) (float32, bool)) meaning {
	if s.near == nil {
		s.near = make([]float32, x.size)
	}
	m := meaning(s.near)
	sum, most, known := float64(0), float32(-2), 0
	for d, kept := range s.kept {
		m[d] = -2
		if !kept {
			continue
		}
		if cosine, ok := near(d); ok {
			m[d] = cosine
			sum, most, known = sum+float64(cosine), max(most, cosine), known+1
		}
	}
	mean := float32(sum / float64(max(1, known)))
	for d, cosine := range m {
		m[d] = 0
		if cosine > mean && most > mean {
			m[d] = (cosine - mean) / (most - mean)
		}
	}
	return m
}

// blend returns the highest scores by words and meaning together, 0…1, and how many documents are there as guesses: near, and without a
// word of the query. The surer the best hit by words is, the less meaning counts. Guesses are the nearest of these, as far as they are worth a share of the best score.
func (x *Index) blend(s *scratch, limit int, m meaning) (hits []Hit, guesses int) {
	byWords, best, sure := make([]Hit, 0, len(s.touched)), 0.0, float32(0)
	for _, d := range s.touched {
		h, how := x.hit(s, d)
		if byWords = append(byWords, h); h.Score > best {
			best, sure = h.Score, how
		}
	}
	share := x.tuning.meaning * (1 - x.tuning.trust*min(1, sure))
	for _, h := range byWords {
		h.Score = float64(1-share)*h.Score/best + float64(share*m[h.Doc])
		hits = top(hits, h, limit)
	}
	var near []Hit
	for d, n := range m {
		if n > 0 && s.score[d] == 0 {
			near = top(near, Hit{Doc: d, Score: float64(share * n), Low: true, Guess: true}, guessesMax)
		}
	}
	if len(near) == 0 {
		return hits, 0
	}
	least := near[0].Score
	if len(hits) > 0 {
		least = max(least, hits[0].Score)
	}
	for _, h := range near {
		if h.Score >= float64(x.tuning.trim)*least {
			hits = top(hits, h, limit)
			guesses++
		}
	}
	return hits, guesses
}
