// SPDX-License-Identifier: Apache-2.0

package conf

import "strings"

// suggestPath returns `; did you mean "…"?` with the nearest key of the file,
// or nothing.
func (s *schema) suggestPath(path string) string {
	var candidates []string
	for _, st := range s.settings {
		candidates = append(candidates, st.path)
	}
	for _, g := range s.groups {
		if g.path != "" {
			candidates = append(candidates, g.path)
		}
	}
	if best := nearest(path, candidates); best != "" {
		return `; did you mean "` + best + `"?`
	}
	// A right name in the wrong group is another common slip.
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, c := range candidates {
		if strings.HasSuffix(c, "."+last) {
			return `; did you mean "` + c + `"?`
		}
	}
	return ""
}

func (s *schema) suggestFlag(name string) string {
	candidates := reserved()
	for _, st := range s.settings {
		candidates = append(candidates, st.path, st.flag)
	}
	if best := nearest(name, candidates); best != "" {
		return "; did you mean --" + best + "?"
	}
	return ""
}

func (s *schema) suggestEnv(name string, known []string) string {
	candidates := append([]string{}, known...)
	for _, st := range s.settings {
		candidates = append(candidates, st.env)
	}
	for i, c := range candidates {
		candidates[i] = strings.TrimPrefix(c, Prefix) // the common part would make everything look alike
	}
	if best := nearest(strings.TrimPrefix(name, Prefix), candidates); best != "" {
		return "; did you mean " + Prefix + best + "?"
	}
	return ""
}

// nearest returns the candidate with the fewest edits to word, at most a
// third of the word (but always two); the first one of equals.
func nearest(word string, candidates []string) string {
	best, limit := "", max(2, len(word)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
