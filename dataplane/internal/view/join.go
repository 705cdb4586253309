// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
)

const (
	maxInstructions = 16 << 10     // M-58
	firstModern     = "2026-07-28" // first version without sessions: it has no tasks of 2025-11-25
)

// join fills in what gateways have of the servers behind them, where the gateway or one of those servers was put.
func (b *Builder) join() {
	for name := range b.put {
		b.joinGateway(b.next.gateways[name])
	}
	if len(b.changed) == 0 && len(b.ruled) == 0 {
		return
	}
	var again []*Gateway
	for _, g := range b.next.gateways {
		if _, done := b.put[g.Name]; !done && (len(b.changed) > 0 && g.behind(b.changed) || g.under(b.ruled)) {
			again = append(again, g)
		}
	}
	for _, g := range again {
		b.joinGateway(g)
	}
}

// behind reports whether one of the servers is behind the gateway.
func (g *Gateway) behind(servers map[string]struct{}) bool {
	for _, f := range g.Features {
		if _, ok := servers[f.Server]; ok {
			return true
		}
	}
	for _, t := range g.Tools {
		if _, ok := servers[t.Server]; ok {
			return true
		}
	}
	return false
}

// under reports whether one of the policies concerns the gateway.
func (g *Gateway) under(policies []rule) bool {
	return slices.ContainsFunc(policies, func(p rule) bool { return p.On(&g.Gateway) })
}

// joinPolicies finds the policies that concern the gateway, so that a call looks at no others.
func (g *Gateway) joinPolicies(all map[string]*Policy) {
	for _, p := range all {
		if p.On(&g.Gateway) {
			g.Policies = append(g.Policies, p)
			if p.AsksContext(g.Contexts) {
				g.asking = append(g.asking, p)
			}
			g.ReadsClaims = g.ReadsClaims || p.Names(condition.NameClaims)
		}
	}
	slices.SortFunc(g.Policies, compile.ComparePolicies)
}

// TracksContexts reports whether a policy of the gateway has to know the context of calls (G-33): of all other gateways nobody asks.
func (g *Gateway) TracksContexts() bool { return len(g.asking) > 0 || g.resultsAsk }

// UsesContexts reports whether it matters that a context is used: somebody asks for it, or may yet.
func (g *Gateway) UsesContexts() bool { return g.TracksContexts() || g.makesMarks }

// ResultsAskContext reports whether a result policy of the gateway has to know the context.
func (g *Gateway) ResultsAskContext() bool { return g.resultsAsk }

// AsksContext reports whether one of those policies concerns calls of the tool.
func (g *Gateway) AsksContext(t *Tool) bool {
	return slices.ContainsFunc(g.asking, func(p *Policy) bool { return p.Covers(t.Server, t.Upstream) })
}

// joinResultPolicies does so for those on results.
func (g *Gateway) joinResultPolicies(all map[string]*ResultPolicy) {
	for _, p := range all {
		if p.On(&g.Gateway) {
			g.ResultPolicies = append(g.ResultPolicies, p)
			g.ReadsClaims = g.ReadsClaims || p.Names(condition.NameClaims)
			g.resultsAsk = g.resultsAsk || p.AsksContext(g.Contexts)
			g.makesMarks = g.makesMarks || p.Mark == compile.MarkUntrusted && !p.Shadow && g.Contexts != compile.ContextsTrusted
		}
	}
	slices.SortFunc(g.ResultPolicies, compile.CompareResultPolicies)
}

func (b *Builder) joinGateway(g *Gateway) {
	if g == nil { // put, then deleted
		return
	}
	if g.joined { // published, maybe: it must not be written
		g = &Gateway{Gateway: g.Gateway, Tools: g.Tools, byName: g.byName}
		own(b, gatewayMap, &b.next.gateways)
		b.next.gateways[g.Name] = g
	}
	g.joined = true
	server := func(name string) *Server { return b.next.servers[name] }
	g.joinPolicies(b.next.policies)
	g.joinResultPolicies(b.next.results)
	g.joinScopes()
	g.joinChosen()
	g.joinCapabilities(server)
	g.joinInstructions(server)
	if len(g.Features) == 0 {
		return
	}
	g.joinPrompts(server)
	g.joinResources(server)
}

// joinScopes collects what tokens for the gateway may be asked to have.
func (g *Gateway) joinScopes() {
	var required []string
	for _, t := range g.Tools {
		required = append(required, t.RequiredScopes...)
	}
	g.Scopes = compile.AddScopes(nil, required)
}

// joinChosen collects the servers whose connections calls choose.
func (g *Gateway) joinChosen() {
	note := func(server string, atCall bool) {
		if atCall && !slices.Contains(g.atCall, server) {
			g.atCall = append(g.atCall, server)
		}
	}
	for _, t := range g.Tools {
		note(t.Server, t.AtCall)
	}
	for _, f := range g.Features {
		note(f.Server, f.AtCall)
	}
}

// joinCapabilities makes what the gateway declares (M-57): its own lists change when its configuration does, so it tells
// of that whatever its servers can tell of.
func (g *Gateway) joinCapabilities(server func(string) *Server) {
	c := compile.Capabilities{Tools: true, ToolsChanged: true}
	behind := make(map[string]struct{}, 4)
	last := ""
	for _, t := range g.Tools {
		if t.Server != last {
			behind[t.Server], last = struct{}{}, t.Server
		}
	}
	for name := range behind {
		if s := server(name); s != nil {
			c.Logging = c.Logging || s.Capabilities.Logging
			c.Tasks = c.Tasks || s.Capabilities.Tasks && s.Protocol < firstModern
		}
	}
	for _, f := range g.Features {
		s := server(f.Server)
		if s == nil || !f.Prompts && !f.Resources {
			continue
		}
		behind[f.Server] = struct{}{}
		c.Prompts = c.Prompts || f.Prompts && s.Capabilities.Prompts
		c.Resources = c.Resources || f.Resources && s.Capabilities.Resources
		c.ResourcesWatched = c.ResourcesWatched || f.Resources && s.Capabilities.ResourcesWatched
		c.Completions = c.Completions || s.Capabilities.Completions
		c.Logging = c.Logging || s.Capabilities.Logging
	}
	c.PromptsChanged, c.ResourcesChanged = c.Prompts, c.Resources
	for _, name := range slices.Sorted(maps.Keys(behind)) {
		if s := server(name); s != nil {
			g.joinExtensions(&c, s)
		}
	}
	g.Capabilities = c
}

// joinExtensions adds the extensions of a server that the gateway allows (M-60).
func (g *Gateway) joinExtensions(c *compile.Capabilities, s *Server) {
	for name, settings := range s.Capabilities.Extensions {
		if !g.Passthrough && !slices.Contains(g.Extensions, name) || name == compile.ExtensionTasks && s.Protocol < firstModern {
			continue
		}
		if c.Extensions == nil {
			c.Extensions = make(map[string][]byte)
		}
		other, there := c.Extensions[name]
		switch {
		case !there:
			c.Extensions[name] = settings
		case bytes.Equal(other, settings):
		case name == compile.ExtensionUI:
			c.Extensions[name] = joinMimeTypes(other, settings)
		default:
			c.Extensions[name] = []byte("{}")
		}
	}
}

// joinMimeTypes joins two settings of the ui extension; settings of another shape count as empty.
func joinMimeTypes(a, b []byte) []byte {
	var types []string
	for _, raw := range [][]byte{a, b} {
		var settings map[string]json.RawMessage // a map, because member names are exact (M-10)
		var listed []string
		if json.Unmarshal(raw, &settings) == nil && json.Unmarshal(settings["mimeTypes"], &listed) == nil {
			types = append(types, listed...)
		}
	}
	slices.Sort(types)
	out, err := json.Marshal(map[string][]string{"mimeTypes": slices.Compact(types)})
	if err != nil || len(types) == 0 {
		return []byte("{}")
	}
	return out
}

// joinInstructions makes the text that clients are given (M-58).
func (g *Gateway) joinInstructions(server func(string) *Server) {
	g.FullInstructions = g.Instructions
	var b strings.Builder
	b.WriteString(g.Instructions)
	for _, f := range g.Features {
		s := server(f.Server)
		if !f.Instructions || s == nil || s.Instructions == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n\n")
		}
		title := s.DisplayName
		if title == "" {
			title = s.Name
		}
		b.WriteString("## " + title + "\n")
		if g.prefixes(s.Name) {
			b.WriteString("Its tools are named `" + s.Name + compile.Separator + "…`.\n")
		}
		b.WriteString("\n" + s.Instructions)
	}
	if b.Len() > len(g.Instructions) {
		g.FullInstructions = clip(b.String(), maxInstructions)
	}
}

// prefixes reports whether the gateway has tools of the server and all of them carry its name.
func (g *Gateway) prefixes(server string) bool {
	some := false
	for _, t := range g.Tools {
		if t.Server != server {
			continue
		}
		if some = true; !strings.HasPrefix(t.Exposed, server+compile.Separator) {
			return false
		}
	}
	return some
}

// clip cuts a text after at most most bytes, between characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// joinPrompts names the prompts of the servers that show them (M-62).
func (g *Gateway) joinPrompts(server func(string) *Server) {
	var named []compile.NamedTool
	for _, f := range g.Features {
		s := server(f.Server)
		if s == nil || !f.Prompts {
			continue
		}
		for _, listed := range s.Prompts {
			named = append(named, compile.NamedTool{Server: s.Name, Upstream: listed.Name})
			g.Prompts = append(g.Prompts, &compile.Prompt{
				Upstream: listed.Name, Server: s.Name, Connection: f.Connection, AtCall: f.AtCall, Body: listed.Body,
			})
		}
	}
	names, _ := compile.PromptNames(g.Naming, named)
	for i, name := range names {
		g.Prompts[i].Exposed = name
	}
	slices.SortStableFunc(g.Prompts, func(a, b *compile.Prompt) int { return strings.Compare(a.Exposed, b.Exposed) })
	g.Prompts = slices.CompactFunc(g.Prompts, func(a, b *compile.Prompt) bool { return a.Exposed == b.Exposed })
}

// Prompt returns a prompt by exposed name, nil if there is none.
func (g *Gateway) Prompt(exposed string) *compile.Prompt {
	i, ok := slices.BinarySearchFunc(g.Prompts, exposed, func(p *compile.Prompt, name string) int {
		return strings.Compare(p.Exposed, name)
	})
	if !ok {
		return nil
	}
	return g.Prompts[i]
}
