// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"fmt"

	"cel.dev/cel-go/cel"
)

// Names that a condition may read and that somebody has to make an effort for, or that are not always known.
const (
	NameArguments   = "args"
	NameAnnotations = "tool.annotations"
	NameTool        = "tool.name"
	NameClaims      = "caller.claims"
	NameToolLabels  = "tool.labels"
	NameRegion      = "request.region"
	NameHeaders     = "request.headers"
)

// variable is one name.
type variable struct {
	root, field string
	kind        *cel.Type
}

// variables are all names but args. Each stands for itself, not for a member of an object, so that one which does not exist is an
// error when the condition is compiled (G-37).
func variables() []variable {
	text, list := cel.StringType, cel.ListType(cel.StringType)
	texts := cel.MapType(cel.StringType, cel.StringType)
	return []variable{
		{"tool", "server", text},
		{"tool", "name", text},
		{"tool", "annotations", cel.MapType(cel.StringType, cel.DynType)},
		{"tool", "labels", texts},
		{"caller", "user", text},
		{"caller", "email", text},
		{"caller", "teams", list},
		{"caller", "roles", list},
		{"caller", "auth_method", text},
		{"caller", "client_id", text},
		{"caller", "token_id", text},
		{"caller", "claims", cel.MapType(cel.StringType, cel.DynType)},
		{"gateway", "name", text},
		{"gateway", "labels", texts},
		{"context", "untrusted", cel.BoolType},
		{"context", "sources", list},
		{"request", "headers", texts},
		{"request", "time", cel.TimestampType},
		{"request", "region", text},
	}
}

// roots returns the names of fields by the name before the dot.
func roots() map[string][]string {
	out := make(map[string][]string)
	for _, v := range variables() {
		out[v.root] = append(out[v.root], v.field)
	}
	return out
}

func newEnv() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.Variable(NameArguments, cel.MapType(cel.StringType, cel.DynType)),
		cel.CrossTypeNumericComparisons(true), // JSON has one kind of number
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	}
	for _, v := range variables() {
		options = append(options, cel.Variable(v.root+"."+v.field, v.kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return env, nil
}
