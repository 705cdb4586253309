// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonPattern (Invalid): a pattern does not compile, or matches an empty text; the text says where.
const ReasonPattern = "RESULT_PATTERN_INVALID"

// Compile compiles a pattern in the syntax of RE2. What is wrong with it is an Invalid fault, RESULT_PATTERN_INVALID, with the column,
// from 1.
func Compile(text string) (*regexp.Regexp, error) {
	if !utf8.ValidString(text) {
		return nil, fault.New(fault.Invalid, ReasonPattern, "column 1: the pattern is not UTF-8")
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, broken(text, err)
	}
	if least(tree) == 0 {
		return nil, fault.New(fault.Invalid, ReasonPattern, "column 1: the pattern may match an empty text; make it ask for at least one character")
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, broken(text, err)
	}
	return re, nil
}

// broken says where a pattern is wrong: the parser tells which part it stopped at.
func broken(text string, err error) error {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return fault.New(fault.Invalid, ReasonPattern, "column 1: the pattern cannot be compiled").Because(err)
	}
	at := max(strings.LastIndex(text, e.Expr), 0)
	return fault.Newf(fault.Invalid, ReasonPattern, "column %d: %s: %q", utf8.RuneCountInString(text[:at])+1, e.Code, e.Expr)
}

// least is the length of the shortest text that an expression matches; 0 or 1, for all that are longer.
func least(e *syntax.Regexp) int {
	switch e.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary,
		syntax.OpNoWordBoundary, syntax.OpStar, syntax.OpQuest:
		return 0
	case syntax.OpLiteral:
		return min(len(e.Rune), 1)
	case syntax.OpRepeat:
		if e.Min == 0 {
			return 0
		}
		return least(e.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return least(e.Sub[0])
	case syntax.OpConcat:
		for _, sub := range e.Sub {
			if least(sub) > 0 {
				return 1
			}
		}
		return 0
	case syntax.OpAlternate:
		for _, sub := range e.Sub {
			if least(sub) == 0 {
				return 0
			}
		}
		return 1
	default: // a class, any character, or what matches nothing at all
		return 1
	}
}
