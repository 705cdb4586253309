// SPDX-License-Identifier: Apache-2.0

package redact

import (
	"bytes"
	"regexp"
	"slices"
	"time"
)

const (
	// mark is what stands where something was taken out.
	mark = "[redacted]"
	// uriMark is mark in a URI, which knows no brackets.
	uriMark = "redacted"

	// maxPasses is how often a text is looked at again: what stands beside a mark may match where it did not before, such as \b.
	maxPasses = 4
	// batch is how many matches are looked for before the time is looked at, at first.
	batch = 64
	// patience is how long one answer may take. One search is linear in the text; a text may be made so that the search behind each of
	// many matches goes to its end. What is not finished by then is taken out whole.
	patience = 5 * time.Second
)

// Redactor takes out what some patterns match. It is for one goroutine at a time.
type Redactor struct {
	patterns []*regexp.Regexp
	now      func() time.Time
	end      time.Time // of the time for one answer; zero before the first match
}

// New returns a Redactor by patterns that match no empty text. now is a clock.
func New(patterns []*regexp.Regexp, now func() time.Time) *Redactor {
	return &Redactor{patterns: patterns, now: now}
}

// Text returns a text without what the patterns match.
func (r *Redactor) Text(text string) string {
	out, changed := r.clean([]byte(text), mark)
	if !changed {
		return text
	}
	return string(out)
}

// clean returns text with sign for what the patterns match, text itself if nothing does. No match touches anything but signs then.
func (r *Redactor) clean(text []byte, sign string) (out []byte, changed bool) {
	if !slices.ContainsFunc(r.patterns, func(p *regexp.Regexp) bool { return p.Match(text) }) {
		return text, false
	}
	if r.end.IsZero() {
		r.end = r.now().Add(patience)
	}
	out = text
	signs := make([]byte, len(text)) // 1 where out is a sign
	for range maxPasses {
		cuts, ok := r.cuts(out, signs)
		switch {
		case !ok:
			return []byte(sign), true
		case cuts == nil:
			return out, true
		}
		out, signs = cut(out, signs, cuts, sign)
	}
	if cuts, ok := r.cuts(out, signs); !ok || cuts != nil {
		return []byte(sign), true
	}
	return out, true
}

// cuts returns the ranges of text that match and are not sign alone, sorted and joined. ok is false if there is no time for it.
func (r *Redactor) cuts(text, signs []byte) (cuts [][]int, ok bool) {
	for _, p := range r.patterns {
		for n := batch; ; n *= 2 {
			found := p.FindAllIndex(text, n)
			if len(found) < n {
				for _, at := range found {
					if bytes.IndexByte(signs[at[0]:at[1]], 0) >= 0 {
						cuts = append(cuts, at)
					}
				}
				break
			}
			if r.now().After(r.end) {
				return nil, false
			}
		}
	}
	slices.SortFunc(cuts, func(a, b []int) int { return a[0] - b[0] })
	joined := cuts[:0]
	for _, at := range cuts {
		// A sign that is touched goes with the match, so that there is one in the place of both.
		for at[0] > 0 && signs[at[0]-1] == 1 {
			at[0]--
		}
		for at[1] < len(signs) && signs[at[1]] == 1 {
			at[1]++
		}
		if last := len(joined) - 1; last >= 0 && at[0] <= joined[last][1] {
			joined[last][1] = max(joined[last][1], at[1])
			continue
		}
		joined = append(joined, at)
	}
	if len(joined) == 0 {
		return nil, true
	}
	return joined, true
}

// cut puts sign in the place of each range.
func cut(text, signs []byte, cuts [][]int, sign string) (out, outSigns []byte) {
	out, outSigns = make([]byte, 0, len(text)), make([]byte, 0, len(text))
	at := 0
	for _, c := range cuts {
		out, outSigns = append(out, text[at:c[0]]...), append(outSigns, signs[at:c[0]]...)
		out, outSigns = append(out, sign...), append(outSigns, bytes.Repeat([]byte{1}, len(sign))...)
		at = c[1]
	}
	return append(out, text[at:]...), append(outSigns, signs[at:]...)
}
