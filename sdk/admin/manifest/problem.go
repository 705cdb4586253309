// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"fmt"
	"strconv"
	"strings"
)

// maxProblems bounds what one [Load] reports.
const maxProblems = 50

// Position is a place in a manifest. Line and Column count from 1; 0 means not known.
type Position struct {
	File   string
	Line   int
	Column int
}

// String returns "file:line:column", shorter where a part is not known.
func (p Position) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
		if p.Column > 0 {
			s += ":" + strconv.Itoa(p.Column)
		}
	}
	return s
}

// Problem is one thing that is wrong with a manifest.
type Problem struct {
	Position
	Text string // for example `unknown field "visiblity" of Gateway; did you mean "visibility"?`
}

// Problems is the error of [Load]: everything that is wrong, in the order of the files, at most 50 entries.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// String returns "file:line:column: text".
func (p Problem) String() string { return p.Position.String() + ": " + p.Text }

// problemf makes a problem.
func problemf(at Position, format string, a ...any) Problem {
	return Problem{Position: at, Text: fmt.Sprintf(format, a...)}
}
