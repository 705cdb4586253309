// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/penstockhq/penstock/sdk/kit/compile/spelling"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonCondition (Invalid): a condition does not compile; the text says where.
const ReasonCondition = "POLICY_CONDITION_INVALID"

// costLimit bounds an evaluation that may visit lists or compile what a client sent, in the units of CEL: about one for each step
// and for ten characters that are looked at. A list of a hundred elements takes about 500; at the limit, an evaluation has taken a
// few milliseconds (BenchmarkCostLimit). All others are bounded by the length of the condition, and are not counted, because counting
// costs more than they do.
const costLimit = 2_000

// maxProblems is how many problems a fault tells of.
const maxProblems = 5

// Why an evaluation failed. No text of CEL's goes further, because it may hold what a client sent.
var (
	// ErrCost: the evaluation was longer than the limit.
	ErrCost = errors.New("the condition costs more than one evaluation may")
	// ErrFailed: for example, values of different types were compared, or the arguments cannot be read.
	ErrFailed = errors.New("the condition cannot be evaluated on this call")
)

// Condition is a compiled condition. It is safe for concurrent use.
type Condition struct {
	program   cel.Program
	names     map[string]struct{}
	arguments *spelling.Names
}

// Compile compiles the text of a condition. What is wrong with it is an Invalid fault, POLICY_CONDITION_INVALID, with line and
// column, both from 1.
func Compile(text string) (*Condition, error) {
	env, err := newEnv()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, fault.New(fault.Invalid, ReasonCondition, problems(issues))
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fault.Newf(fault.Invalid, ReasonCondition, "line 1, column 1: the condition is of the type %s; make it one that is true or false", t)
	}
	options := []cel.ProgramOption{cel.CustomDecoratorV2(lenient)}
	if needsLimit(checked.NativeRep().Expr()) {
		options = append(options, cel.CostLimit(costLimit))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		return nil, fmt.Errorf("plan condition: %w", err)
	}
	c := &Condition{program: program, names: make(map[string]struct{}), arguments: argumentsOf(checked.NativeRep())}
	for _, ref := range checked.NativeRep().ReferenceMap() {
		if ref.Name != "" {
			c.names[ref.Name] = struct{}{}
		}
	}
	return c, nil
}

// Names reports whether the condition reads something, for example "args" or "caller.teams".
func (c *Condition) Names(name string) bool {
	_, ok := c.names[name]
	return ok
}

// Holds evaluates the condition. Its errors are [ErrCost] and [ErrFailed].
func (c *Condition) Holds(f *Facts) (bool, error) {
	out, _, err := c.program.Eval(f)
	if err != nil {
		switch {
		case isMissing(err):
			return false, nil // the whole condition is what is missing: args.force
		case strings.Contains(err.Error(), "actual cost limit exceeded"):
			return false, ErrCost
		}
		return false, ErrFailed
	}
	holds, ok := out.(types.Bool)
	if !ok {
		return false, ErrFailed
	}
	return bool(holds), nil
}

// needsLimit reports whether an expression may take longer than its length says: it visits the elements of something, or has a
// regular expression that is not constant.
func needsLimit(e ast.Expr) bool {
	found := false
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			found = true
		case ast.CallKind:
			args := e.AsCall().Args()
			found = found || e.AsCall().FunctionName() == overloads.Matches && args[len(args)-1].Kind() != ast.LiteralKind
		default:
		}
	}))
	return found
}

// problems says what is wrong, one after the other.
func problems(issues *cel.Issues) string {
	var b strings.Builder
	for i, e := range issues.Errors() {
		if i == maxProblems {
			fmt.Fprintf(&b, "; and %d more", len(issues.Errors())-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		message, _, _ := strings.Cut(e.Message, "\n")
		for root, fields := range roots() {
			if strings.Contains(message, "undeclared reference to '"+root+"'") {
				message = fmt.Sprintf("%s has no such field; there are %s", root, strings.Join(fields, ", "))
			}
		}
		fmt.Fprintf(&b, "line %d, column %d: %s", e.Location.Line(), e.Location.Column()+1, message)
	}
	return b.String()
}
