// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonInvalidFilter (Invalid): a filter cannot be read; the text names the position.
const ReasonInvalidFilter = "INVALID_FILTER"

const (
	maxFilter     = 2048
	maxConditions = 16
)

// Filter is a list of conditions that must all hold. The zero value matches everything.
type Filter struct{ conditions []condition }

type condition struct{ field, op, value string }

// Parse reads a filter. Check is asked about each field and returns what is wrong with it, empty if nothing is. Errors
// name the position, counted in characters from 1.
func Parse(text string, check func(field string) string) (Filter, error) {
	p := parser{text: text, check: check}
	if len(text) > maxFilter {
		return Filter{}, p.fail(0, fmt.Sprintf("it has more than %d bytes", maxFilter))
	}
	p.space()
	if p.done() {
		return Filter{}, nil
	}
	var f Filter
	for {
		c, err := p.condition()
		if err != nil {
			return Filter{}, err
		}
		if f.conditions = append(f.conditions, c); len(f.conditions) > maxConditions {
			return Filter{}, p.fail(p.at, fmt.Sprintf("there are more than %d conditions", maxConditions))
		}
		if p.space(); p.done() {
			return f, nil
		}
		if at := p.at; p.word() != "AND" {
			return Filter{}, p.fail(at, "expected AND or the end")
		}
	}
}

// Matches reports whether all conditions hold. Value returns a field's text, empty if it is not set.
func (f Filter) Matches(value func(field string) string) bool {
	for _, c := range f.conditions {
		got := value(c.field)
		var ok bool
		switch c.op {
		case "=":
			ok = got == c.value
		case "!=":
			ok = got != c.value
		default:
			ok = strings.Contains(strings.ToLower(got), strings.ToLower(c.value))
		}
		if !ok {
			return false
		}
	}
	return true
}

type parser struct {
	text  string
	at    int
	check func(string) string
}

func (p *parser) done() bool { return p.at >= len(p.text) }

func (p *parser) space() {
	for !p.done() && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// word reads what a field may be made of: everything up to white space, a quote or an operator.
func (p *parser) word() string {
	from := p.at
	for !p.done() && strings.IndexByte(" \t\r\n\"=!:()", p.text[p.at]) < 0 {
		p.at++
	}
	return p.text[from:p.at]
}

func (p *parser) condition() (c condition, err error) {
	p.space()
	at := p.at
	if c.field = p.word(); c.field == "" {
		return c, p.fail(at, "expected a field")
	}
	if problem := p.check(c.field); problem != "" {
		return c, p.fail(at, problem)
	}
	p.space()
	for _, op := range []string{"!=", "=", ":"} {
		if strings.HasPrefix(p.text[p.at:], op) {
			c.op = op
			break
		}
	}
	if c.op == "" {
		return c, p.fail(p.at, "expected =, != or :")
	}
	p.at += len(c.op)
	p.space()
	c.value, err = p.quoted()
	return c, err
}

// quoted reads a value in double quotes, in which \" and \\ stand for the characters themselves.
func (p *parser) quoted() (string, error) {
	from := p.at
	if p.done() || p.text[p.at] != '"' {
		return "", p.fail(p.at, "expected a value in double quotes")
	}
	var b strings.Builder
	for p.at++; !p.done(); p.at++ {
		switch c := p.text[p.at]; c {
		case '"':
			p.at++
			return b.String(), nil
		case '\\':
			if p.at++; p.done() || p.text[p.at] != '"' && p.text[p.at] != '\\' {
				return "", p.fail(p.at, `expected \" or \\ after the backslash`)
			}
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail(from, "the quote is not closed")
}

func (p *parser) fail(at int, problem string) error {
	at = min(at, len(p.text))
	column := utf8.RuneCountInString(p.text[:at]) + 1
	return fault.Newf(fault.Invalid, ReasonInvalidFilter, "The filter cannot be read at character %d: %s.", column, problem).
		At("filter", fmt.Sprintf("character %d: %s", column, problem))
}

// Equal returns the value that a field must have, if a condition says so: a list can start there.
func (f Filter) Equal(field string) (value string, ok bool) {
	for _, c := range f.conditions {
		if c.field == field && c.op == "=" {
			return c.value, true
		}
	}
	return "", false
}
