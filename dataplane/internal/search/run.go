// SPDX-License-Identifier: Apache-2.0

package search

import (
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// maxClose is how many tools are named that a client may have meant.
const maxClose = 5

// Types of penstock_error in results of run_tool that come from here (G-13).
const (
	typeUnknown   = "UNKNOWN_TOOL"
	typeArguments = compile.ReasonArguments
	typeItself    = "TOOL_NOT_RUNNABLE"
)

// Open reads the arguments of a run_tool, the raw object or nil, and returns what it is to run (G-23), or the result that says why
// nothing is run: a name that the caller sees no tool of, one of this room's own tools, or arguments that do not fit the input
// schema. The fault is Invalid (-32602) for arguments that run_tool does not have.
func (s *Search) Open(c *call.Caller, arguments []byte) (call.ToRun, error) {
	o, err := readOrder(arguments)
	if err != nil {
		return call.ToRun{}, err
	}
	t := c.Snapshot.ToolToRun(c.Gateway, o.name)
	switch {
	case compile.Reserved(o.name):
		return itself(c.Version, o.name), nil
	case t == nil:
		return s.unknown(c, o.name), nil
	}
	if problems := s.fit(t, o.arguments); len(problems) > 0 {
		return misfit(c.Version, t, problems), nil
	}
	return call.ToRun{Tool: t, Arguments: o.arguments}, nil
}

func itself(v wire.Version, name string) call.ToRun {
	text := fmt.Sprintf("%s cannot be run with run_tool. Give the name of a tool that search_tools has found.", name)
	return call.ToRun{Reason: typeItself, Text: text, Refusal: refusal(v, text, typeItself, "", nil)}
}

// unknown names what the caller may have meant: of what it sees, and nothing else (G-21).
func (s *Search) unknown(c *call.Caller, name string) call.ToRun {
	near := s.Near(c, name)
	text := fmt.Sprintf("There is no tool %s here for you.", wire.Quote(clip(name)))
	switch len(near) {
	case 0:
		text += " Find tools with search_tools."
	case 1:
		text += " Did you mean " + near[0] + "? Find others with search_tools."
	default:
		text += " Did you mean one of " + strings.Join(near, ", ") + "? Find others with search_tools."
	}
	members := []byte(`,"close_matches":[`)
	for i, one := range near {
		if i > 0 {
			members = append(members, ',')
		}
		members = wire.AppendString(members, one)
	}
	return call.ToRun{Reason: typeUnknown, Text: text, Refusal: refusal(c.Version, text, typeUnknown, "", append(members, ']'))}
}

// Near returns the names of tools that the caller sees and may have meant, at most five: those that share the bare name, then those
// that a search for the name finds.
func (s *Search) Near(c *call.Caller, name string) (names []string) {
	f := s.seen(c)
	if f.index == nil {
		return nil
	}
	taken := make(map[int]struct{}, maxClose)
	for i, t := range c.Gateway.Tools {
		if t.Upstream == name && f.shows(i) && len(names) < maxClose {
			taken[i] = struct{}{}
			names = append(names, t.Exposed)
		}
	}
	if len([]rune(name)) > maxQuery {
		return names
	}
	for _, h := range f.index.ranks.Search(name, rank.Options{Limit: maxClose, Keep: f.keep("")}).Hits {
		if _, twice := taken[h.Doc]; !twice && !h.Low && len(names) < maxClose {
			names = append(names, c.Gateway.Tools[h.Doc].Exposed)
		}
	}
	return names
}

// misfit tells what is wrong with arguments, with the schema that they must fit.
func misfit(v wire.Version, t *view.Tool, problems []inputschema.Problem) call.ToRun {
	schema := wire.AppendOneLine(nil, wire.Get(t.Body.Bytes(), "inputSchema"))
	var text strings.Builder
	fmt.Fprintf(&text, "The arguments do not fit the input schema of %s, and nothing was run:\n", t.Exposed)
	members := []byte(`,"problems":[`)
	for i, p := range problems {
		if i > 0 {
			members = append(members, ',')
		}
		members = append(wire.AppendString(append(members, `{"path":`...), p.Path), `,"problem":`...)
		members = append(wire.AppendString(members, p.Text), '}')
		fmt.Fprintf(&text, "- %s: %s\n", p.Path, p.Text)
	}
	members = append(append(members, `],"inputSchema":`...), schema...)
	brief := strings.TrimSuffix(text.String(), "\n")
	text.WriteString("The input schema: ")
	text.Write(schema)
	return call.ToRun{Reason: typeArguments, Text: brief, Refusal: refusal(v, text.String(), typeArguments, t.Server, members)}
}

// refusal is a result with isError and a typed penstock_error (G-13). None of them is worth a repetition as it is. members are
// further raw ones, each after a comma.
func refusal(v wire.Version, text, kind, server string, members []byte) []byte {
	b := wire.AppendString([]byte(`{"penstock_error":{"type":`), kind)
	if server != "" {
		b = wire.AppendString(append(b, `,"server":`...), server)
	}
	b = append(append(b, `,"retryable":false`...), members...)
	return withText(v, text, append(b, `}}`...), true)
}
