// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults that this package makes; all are fault.Invalid.
const (
	// ReasonInvalidField: a field breaks a rule that its documentation states.
	ReasonInvalidField = "INVALID_FIELD"
	// ReasonNotEnforcedYet: a field is known, but nothing would enforce it in this version, so it is refused.
	ReasonNotEnforcedYet = "NOT_ENFORCED_YET"
	// ReasonUnknownField: a field mask or filter names a field that the resource does not have.
	ReasonUnknownField = "UNKNOWN_FIELD"
	// ReasonImmutableField: an update would change what cannot change.
	ReasonImmutableField = "IMMUTABLE_FIELD"
	// ReasonOutputOnly: an update names a field that only the control plane writes.
	ReasonOutputOnly = "OUTPUT_ONLY_FIELD"
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
