// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

// Scenarios and tools that want more than that everything is listed and used.
const (
	// The server of scenarioRefs serves its list and fails every call. The call is made nevertheless: it is when arguments are
	// checked that a schema might be fetched.
	scenarioRefs = "json-schema-ref-no-deref"
	// toolEcho wants the input schema of toolEchoed as the client got it.
	toolEcho   = "json_schema_echo"
	toolEchoed = "json_schema_2020_12_tool"
)

const (
	maxPages  = 100
	maxRounds = 16
)

// tool is one tool as it is listed.
type tool struct {
	Name        string          `json:"name"`
	InputSchema json.RawMessage `json:"inputSchema"`
}

// use does with a gateway what a client can do: it lists and calls every tool, gets every prompt and reads every resource.
func use(ctx context.Context, g gateway.Gateway, version string, t task) (err error) {
	p, err := connect(ctx, g, version)
	if err != nil {
		return fmt.Errorf("connect to the gateway: %w", err)
	}
	defer func() { err = errors.Join(err, p.close(context.WithoutCancel(ctx))) }()

	tools, err := list[tool](ctx, p, "tools/list", "tools")
	if err != nil {
		return err
	}
	calls, err := plan(tools, t.Context.ToolCalls)
	if err != nil {
		return err
	}
	if err := p.callAll(ctx, calls); err != nil && t.Scenario != scenarioRefs {
		return err
	}
	if _, ok := p.capabilities["prompts"]; ok {
		if err := p.getPrompts(ctx); err != nil {
			return err
		}
	}
	if _, ok := p.capabilities["resources"]; ok {
		return p.readResources(ctx)
	}
	return nil
}

// plan makes the calls: those that the scenario names, or one of each tool.
func plan(tools []tool, wanted []toolCall) ([]call, error) {
	byName := make(map[string]tool, len(tools))
	for _, t := range tools {
		byName[t.Name] = t
	}
	if len(wanted) == 0 {
		for _, t := range tools {
			arguments, err := argumentsFor(t, byName)
			if err != nil {
				return nil, fmt.Errorf("make arguments for %s: %w", t.Name, err)
			}
			wanted = append(wanted, toolCall{t.Name, arguments})
		}
	}
	calls := make([]call, 0, len(wanted))
	for _, w := range wanted {
		t, ok := byName[w.Name]
		if !ok {
			return nil, fmt.Errorf("the gateway does not list %s", w.Name)
		}
		headers, err := mirrored(t.InputSchema, w.Arguments)
		if err != nil {
			return nil, fmt.Errorf("make headers for %s: %w", w.Name, err)
		}
		calls = append(calls, call{method: "tools/call", name: w.Name, header: headers, params: map[string]any{
			"name": w.Name, "arguments": w.Arguments,
		}})
	}
	return calls, nil
}

func argumentsFor(t tool, all map[string]tool) (json.RawMessage, error) {
	if other, ok := all[toolEchoed]; ok && t.Name == toolEcho {
		return json.Marshal(map[string]json.RawMessage{"schema": other.InputSchema})
	}
	value, err := example(t.InputSchema)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// list reads all pages of a list.
func list[T any](ctx context.Context, p *peer, method, member string) ([]T, error) {
	var all []T
	params := map[string]any{}
	for range maxPages {
		text, err := p.request(ctx, method, params, nil)
		if err != nil {
			return nil, err
		}
		page := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &page); err != nil {
			return nil, fmt.Errorf("read the answer to %s: %w", method, err)
		}
		var entries []T
		if err := json.Unmarshal(page[member], &entries); err != nil {
			return nil, fmt.Errorf("read the answer to %s: %w", method, err)
		}
		all = append(all, entries...)
		cursor, more := page["nextCursor"]
		if !more {
			return all, nil
		}
		params = map[string]any{"cursor": cursor}
	}
	return nil, fmt.Errorf("%s has more than %d pages", method, maxPages)
}

func (p *peer) getPrompts(ctx context.Context) error {
	prompts, err := list[struct {
		Name      string `json:"name"`
		Arguments []struct {
			Name string `json:"name"`
		} `json:"arguments"`
	}](ctx, p, "prompts/list", "prompts")
	if err != nil {
		return err
	}
	calls := make([]call, 0, len(prompts))
	for _, prompt := range prompts {
		arguments := make(map[string]string, len(prompt.Arguments))
		for _, a := range prompt.Arguments {
			arguments[a.Name] = anyText
		}
		calls = append(calls, call{method: "prompts/get", name: prompt.Name, params: map[string]any{"name": prompt.Name, "arguments": arguments}})
	}
	return p.callAll(ctx, calls)
}

func (p *peer) readResources(ctx context.Context) error {
	resources, err := list[struct {
		URI string `json:"uri"`
	}](ctx, p, "resources/list", "resources")
	if err != nil {
		return err
	}
	calls := make([]call, 0, len(resources))
	for _, r := range resources {
		calls = append(calls, call{method: "resources/read", name: r.URI, params: map[string]any{"uri": r.URI}})
	}
	return p.callAll(ctx, calls)
}

// call is a request that may need rounds of questions.
type call struct {
	method string
	name   string // of the tool or prompt, or the URI of the resource
	header http.Header
	params map[string]any
}

// outcome is what a call ends with, or goes on with.
type outcome struct {
	Type     string          `json:"resultType"`
	IsError  bool            `json:"isError"`
	Content  json.RawMessage `json:"content"`
	State    *string         `json:"requestState"`
	Requests map[string]struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	} `json:"inputRequests"`
}

// callAll makes calls in rounds: the first of all of them, then the second of those that were asked something, and so on. So
// between two rounds of one call there are others.
func (p *peer) callAll(ctx context.Context, calls []call) error {
	for range maxRounds {
		var asked []call
		for _, c := range calls {
			o, err := p.round(ctx, c)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", c.name, err)
			case o.IsError:
				return fmt.Errorf("%s: %s", c.name, o.Content)
			case o.Type != "input_required":
				continue
			}
			if c.params, err = o.next(c.params); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			asked = append(asked, c)
		}
		if len(asked) == 0 {
			return nil
		}
		calls = asked
	}
	return fmt.Errorf("%s asks more than %d times", calls[0].name, maxRounds)
}

func (p *peer) round(ctx context.Context, c call) (outcome, error) {
	var header http.Header
	if p.version == modern {
		if header = c.header.Clone(); header == nil {
			header = make(http.Header)
		}
		header.Set("Mcp-Name", encoded(c.name))
	}
	text, err := p.request(ctx, c.method, c.params, header)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{}
	return o, json.Unmarshal(text, &o)
}

// next makes the params of the next round: those of the first, the answers, and the state exactly as it came, if one came.
func (o outcome) next(params map[string]any) (map[string]any, error) {
	responses := make(map[string]any, len(o.Requests))
	for key, r := range o.Requests {
		var err error
		if responses[key], err = answer(r.Method, r.Params); err != nil {
			return nil, err
		}
	}
	next := map[string]any{"inputResponses": responses}
	for _, member := range []string{"name", "uri", "arguments"} {
		if value, ok := params[member]; ok {
			next[member] = value
		}
	}
	if o.State != nil {
		next["requestState"] = *o.State
	}
	return next, nil
}
