// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Facts are what conditions look at: one call of a tool. They are for one goroutine, and read only what a condition names.
type Facts struct {
	Server, Tool string     // name that the server knows
	Definition   Definition // of the tool; its annotations are read from it
	ToolLabels   map[string]string
	Arguments    []byte // a JSON object; nil for none

	User, Email   string   // uid and address of a person; empty for all others
	Teams, Roles  []string // of the caller (G-32)
	AuthMethod    string
	Client, Token string // their ids
	Claims        []byte // of the token that the caller presented, a JSON object; nil for none

	Gateway       string
	GatewayLabels map[string]string

	Untrusted bool
	Sources   []string // servers whose results made the context untrusted
	// SourcesUnknown says that there may be others: a condition on them fails.
	SourcesUnknown bool

	Headers map[string][]string // of the request, that the gateway passes through; one value each
	Time    time.Time
	Region  string // of the node

	// Partial says that it is not known which tool of the server it is, and with which arguments: a condition whose value depends on
	// those fails.
	Partial bool

	arguments, annotations, claims any // decoded
}

// Definition is a tool's definition, a JSON object, wherever its bytes are kept.
type Definition interface{ Bytes() []byte }

// ResolveName implements cel.Activation.
func (f *Facts) ResolveName(name string) (any, bool) {
	if f.Partial && (name == NameArguments || name == NameAnnotations || name == NameTool) {
		return types.NewErr("not known"), true
	}
	switch name {
	case NameArguments:
		if f.arguments == nil {
			f.arguments = object(f.Arguments)
		}
		return f.arguments, true
	case NameAnnotations:
		if f.annotations == nil {
			f.annotations = member(f.Definition.Bytes(), "annotations")
		}
		return f.annotations, true
	case NameClaims:
		if f.claims == nil {
			f.claims = object(f.Claims)
		}
		return f.claims, true
	case NameToolLabels:
		return f.ToolLabels, true
	case NameRegion:
		return f.Region, true
	case "tool.server":
		return f.Server, true
	case NameTool:
		return f.Tool, true
	case "caller.user":
		return f.User, true
	case "caller.email":
		return f.Email, true
	case "caller.teams":
		return f.Teams, true
	case "caller.roles":
		return f.Roles, true
	case "caller.auth_method":
		return f.AuthMethod, true
	case "caller.client_id":
		return f.Client, true
	case "caller.token_id":
		return f.Token, true
	case "gateway.name":
		return f.Gateway, true
	case "gateway.labels":
		return f.GatewayLabels, true
	case "context.untrusted":
		return f.Untrusted, true
	case "context.sources":
		if f.SourcesUnknown {
			return types.NewErr("unknown"), true
		}
		return f.Sources, true
	case NameHeaders:
		headers := make(map[string]string, len(f.Headers))
		for name, values := range f.Headers {
			headers[strings.ToLower(name)] = strings.Join(values, ", ")
		}
		return headers, true
	case "request.time":
		return f.Time, true
	default:
		return nil, false
	}
}

// Parent implements cel.Activation.
func (*Facts) Parent() cel.Activation { return nil }

// object decodes a JSON object for CEL; what is none is an error of the evaluation.
func object(raw []byte) any {
	if len(raw) == 0 {
		return map[string]any{}
	}
	m, err := decodeObject(raw)
	if err != nil {
		return types.NewErr("unreadable")
	}
	return m
}

// member decodes an object that is a member of one.
func member(raw []byte, name string) any {
	m, err := decodeObject(raw)
	if err != nil {
		return types.NewErr("unreadable")
	}
	if inner, ok := m[name].(map[string]any); ok {
		return inner
	}
	return map[string]any{}
}
