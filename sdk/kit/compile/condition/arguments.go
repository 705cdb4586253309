// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/penstockhq/penstock/sdk/kit/compile/spelling"
)

// Arguments returns the names of arguments that the condition reads; nil if it reads none. It is shared and not to be changed.
func (c *Condition) Arguments() *spelling.Names { return c.arguments }

// argumentsOf collects the names of arguments that a checked expression reads. What cannot be told before an evaluation makes it all.
func argumentsOf(checked *ast.AST) *spelling.Names {
	r := &reader{ast: checked, names: &spelling.Names{}, of: map[string]bool{NameArguments: true, "." + NameArguments: true}}
	if !r.derives(checked.Expr()) {
		return nil
	}
	r.visit(checked.Expr())
	return r.names
}

// reader walks an expression.
type reader struct {
	ast   *ast.AST
	names *spelling.Names
	of    map[string]bool // variables, by whether their values come out of the arguments
}

// derives reports whether the value of an expression may have something of the arguments in it.
func (r *reader) derives(e ast.Expr) bool {
	found := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		found = found || e.Kind() == ast.IdentKind && r.of[e.AsIdent()]
	}))
	return found
}

// isWhole reports whether an expression is the arguments themselves.
func (r *reader) isWhole(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && r.of[e.AsIdent()] && strings.TrimPrefix(e.AsIdent(), ".") == NameArguments
}

// isElement reports whether an expression is the variable of a macro over arguments: the element of a list or the name of a member.
func (r *reader) isElement(e ast.Expr) bool {
	return e.Kind() == ast.IdentKind && r.of[e.AsIdent()] && !r.isWhole(e)
}

func (r *reader) visit(e ast.Expr) {
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		if r.derives(s.Operand()) {
			r.names.Add(s.FieldName(), r.isWhole(s.Operand()))
		}
		r.visit(s.Operand())
	case ast.CallKind:
		r.call(e.AsCall())
	case ast.ListKind:
		for _, one := range e.AsList().Elements() {
			r.visit(one)
		}
	case ast.MapKind:
		for _, one := range e.AsMap().Entries() {
			r.key(one.AsMapEntry().Key(), false) // it may be compared with an argument
			r.visit(one.AsMapEntry().Key())
			r.visit(one.AsMapEntry().Value())
		}
	case ast.ComprehensionKind:
		r.comprehension(e.AsComprehension())
	case ast.IdentKind, ast.LiteralKind, ast.StructKind, ast.UnspecifiedExprKind: // a message has no arguments in it
	}
}

func (r *reader) comprehension(c ast.ComprehensionExpr) {
	r.visit(c.IterRange())
	r.visit(c.AccuInit())
	derived := r.derives(c.IterRange())
	r.names.All = r.names.All || r.isWhole(c.IterRange()) // the variable is the name of a member
	bound := map[string]bool{c.IterVar(): derived, c.AccuVar(): r.derives(c.AccuInit())}
	if c.HasIterVar2() {
		bound[c.IterVar2()] = derived
	}
	before := make(map[string]bool, len(bound))
	for name, from := range bound {
		before[name] = r.of[name]
		r.of[name] = from
	}
	r.visit(c.LoopCondition())
	r.visit(c.LoopStep())
	r.visit(c.Result())
	for name, from := range before {
		r.of[name] = from
	}
}

func (r *reader) call(c ast.CallExpr) {
	args := c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	switch c.FunctionName() {
	case operators.Index:
		if r.derives(args[0]) {
			r.key(args[1], r.isWhole(args[0]))
		}
	case operators.In:
		if r.derives(args[1]) {
			r.key(args[0], r.isWhole(args[1]))
		}
		r.compared(args[0], args[1])
	case operators.Equals, operators.NotEquals:
		r.compared(args[0], args[1])
		r.compared(args[1], args[0])
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.Add, operators.NotStrictlyFalse,
		overloads.Size, overloads.TypeConvertType:
	default:
		r.names.All = r.names.All || slices.ContainsFunc(args, r.isElement)
	}
	for _, one := range args {
		r.visit(one)
	}
}

// key notes what something of the arguments is indexed with, or has among its members.
func (r *reader) key(e ast.Expr, top bool) {
	if e.Kind() != ast.LiteralKind {
		r.names.All = true
		return
	}
	if name, ok := e.AsLiteral().(types.String); ok {
		r.names.Add(string(name), top)
	}
}

// compared notes what something of the arguments is compared with. An object is equal to one with the same names only, and the
// variable of a macro may be a name.
func (r *reader) compared(e, with ast.Expr) {
	if !r.derives(e) {
		return
	}
	switch with.Kind() {
	case ast.LiteralKind:
		if r.isElement(e) {
			r.key(with, false)
		}
	case ast.ListKind:
		for _, one := range with.AsList().Elements() {
			r.compared(e, one)
		}
	case ast.MapKind: // its keys are noted as such
	default:
		kind := r.ast.GetType(with.ID()).String()
		r.names.All = r.names.All || r.isElement(e) || strings.Contains(kind, "dyn") || strings.Contains(kind, "map")
	}
}
