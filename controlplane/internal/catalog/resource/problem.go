// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults that this package makes; all are fault.Invalid.
const (
	// ReasonInvalidField: a field breaks a rule that its documentation states.
	ReasonInvalidField = "INVALID_FIELD"
	// ReasonNotEnforcedYet: a field is known, but nothing would enforce it in this version, so it is refused.
	ReasonNotEnforcedYet = "NOT_ENFORCED_YET"
	// ReasonHeaderNeverPassed: a gateway lists a header of clients that no server may get (G-41).
	ReasonHeaderNeverPassed = "HEADER_NEVER_PASSED"
	// ReasonUnknownField: a field mask or filter names a field that the resource does not have.
	ReasonUnknownField = "UNKNOWN_FIELD"
	// ReasonImmutableField: an update would change what cannot change.
	ReasonImmutableField = "IMMUTABLE_FIELD"
)

// Problem is one thing wrong with an input. Path is the dotted path of the field with proto names, for example
// "tools[2].pinned.connection"; Text a phrase that says what is wrong and how to mend it.
type Problem struct {
	Kind               fault.Kind
	Reason, Path, Text string
}

// Problems collects what is wrong, so that a caller learns everything at once.
type Problems []Problem

// Add adds a fault.Invalid problem.
func (p *Problems) Add(reason, path, format string, args ...any) {
	p.AddKind(fault.Invalid, reason, path, format, args...)
}

// AddKind adds a problem of a kind.
func (p *Problems) AddKind(kind fault.Kind, reason, path, format string, args ...any) {
	*p = append(*p, Problem{Kind: kind, Reason: reason, Path: path, Text: fmt.Sprintf(format, args...)})
}

// field adds an ordinary problem of a field.
func (p *Problems) field(path, format string, args ...any) {
	p.Add(ReasonInvalidField, path, format, args...)
}

const (
	maxFields = 100 // in one fault: more help nobody
	maxInText = 3
)

// Err returns the problems as one fault with the kind and the reason of the first and a field for each, nil if there are
// none. Its text begins with what the problems are of, for example `gateway "eng"`.
func (p Problems) Err(of string) error {
	if len(p) == 0 {
		return nil
	}
	text := "In the " + of + ", "
	for i, problem := range p[:min(len(p), maxInText)] {
		if i > 0 {
			text += "; "
		}
		if problem.Path != "" {
			text += problem.Path + ": "
		}
		text += problem.Text
	}
	if more := len(p) - maxInText; more > 0 {
		text += fmt.Sprintf("; and %d more problems", more)
	}
	f := fault.New(p[0].Kind, p[0].Reason, text+".")
	for _, problem := range p[:min(len(p), maxFields)] {
		f = f.At(problem.Path, problem.Text)
	}
	return f
}

// NotAResource is the fault of a kind that a command does not work on.
func NotAResource(k Kind, doing string) error {
	return fault.Newf(fault.Invalid, ReasonInvalidField, "%s cannot be %s.", strings.ToUpper(k.One()[:1])+k.One()[1:], doing)
}

// IsRefusal reports whether a fault of a kind is about one resource and not about the store.
func IsRefusal(k fault.Kind) bool {
	return slices.Contains([]fault.Kind{fault.Invalid, fault.Denied, fault.NotFound, fault.AlreadyExists, fault.Conflict, fault.Precondition}, k)
}

// Located returns a fault with the resource it is about, for example "gateway eng", in front of each path.
func Located(f *fault.Fault, of string) *fault.Fault {
	out := *f
	out.Fields = nil
	if len(f.Fields) == 0 {
		return out.At(of, f.Public)
	}
	located := &out
	for _, field := range f.Fields {
		located = located.At(of+": "+field.Path, field.Problem)
	}
	return located
}

// Joined makes one fault of many: kind, reason and text of the first, the fields of all.
func Joined(faults []*fault.Fault) error {
	if len(faults) == 0 {
		return nil
	}
	out := faults[0]
	if len(faults) > 1 {
		c := *out
		c.Public = fmt.Sprintf("%d resources are refused. %s", len(faults), out.Public)
		out = &c
	}
	for _, f := range faults[1:] {
		for _, field := range f.Fields {
			if len(out.Fields) < 2*maxFields {
				out = out.At(field.Path, field.Problem)
			}
		}
	}
	return out
}

const maxListed = 10

// Listed joins the first few of a list for people.
func Listed(list []string) string {
	if len(list) <= maxListed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:maxListed], ", "), len(list)-maxListed)
}

// Clip cuts a text to a number of bytes at a character.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}
