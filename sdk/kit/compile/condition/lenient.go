// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// lenient plans comparisons so that they are false where an operand is missing (G-31), and compiles regular expressions and makes
// lists that are constant once. CEL's own optimizer is left out: it would put other steps in place of these.
func lenient(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch i := i.(type) {
	case interpreter.InterpretableCall:
		if i.Function() == overloads.Matches && len(i.Args()) == 2 {
			if pattern, ok := i.Args()[1].(interpreter.InterpretableConst); ok {
				return newMatch(i, pattern), nil
			}
		}
		if isComparison(i.Function()) {
			return comparison{i}, nil
		}
	case interpreter.InterpretableConstructor:
		if i.Type() == types.ListType && len(i.InitVals()) > 0 {
			for _, v := range i.InitVals() {
				if _, ok := v.(interpreter.InterpretableConst); !ok {
					return i, nil
				}
			}
			return interpreter.NewConstValue(i.ID(), i.Eval(interpreter.EmptyActivation())), nil
		}
	default:
	}
	return i, nil
}

func isComparison(function string) bool {
	switch function {
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.In, overloads.Matches, overloads.Contains, overloads.StartsWith, overloads.EndsWith:
		return true
	default:
		return false
	}
}

// comparison is false where an operand is missing.
type comparison struct{ interpreter.InterpretableCall }

// Exec implements interpreter.InterpretableV2.
func (c comparison) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return orFalse(c.InterpretableCall.Exec(frame))
}

// Eval implements interpreter.Interpretable.
func (c comparison) Eval(a interpreter.Activation) ref.Val { return c.Exec(interpreter.AsFrame(a)) }

// match is a comparison with a regular expression that is constant.
type match struct {
	interpreter.InterpretableCall
	subject interpreter.InterpretableV2
	pattern *regexp.Regexp
}

func newMatch(call interpreter.InterpretableCall, pattern interpreter.InterpretableConst) interpreter.InterpretableV2 {
	text, ok := pattern.Value().(types.String)
	if !ok {
		return comparison{call}
	}
	re, err := regexp.Compile(string(text)) // RE2: linear in what it looks at
	if err != nil {
		return comparison{call}
	}
	return match{call, call.Args()[0], re}
}

// Exec implements interpreter.InterpretableV2.
func (m match) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	subject := m.subject.Exec(frame)
	if types.IsError(subject) {
		return orFalse(subject)
	}
	text, ok := subject.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(subject)
	}
	return types.Bool(m.pattern.MatchString(string(text)))
}

// Eval implements interpreter.Interpretable.
func (m match) Eval(a interpreter.Activation) ref.Val { return m.Exec(interpreter.AsFrame(a)) }

func orFalse(v ref.Val) ref.Val {
	if e, ok := v.(*types.Err); ok && isMissing(e) {
		return types.False
	}
	return v
}

// isMissing reports whether an error of CEL's says that a map has no such key or a list no such index. The errors are not
// exported; TestMissing holds them to these texts.
func isMissing(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "no such key: ") || strings.HasPrefix(text, "index out of bounds: ") || strings.HasPrefix(text, "index '")
}
