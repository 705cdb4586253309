// SPDX-License-Identifier: Apache-2.0

package show

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// gatewayFeatures is what a gateway shows of servers besides tools; no section if it shows nothing.
func gatewayFeatures(g *resourcev1.Gateway) []section {
	s := section{title: "Server features", header: []string{"SERVER", "PROMPTS", "RESOURCES", "INSTRUCTIONS", "CONNECTION"}}
	for _, f := range g.GetServerFeatures() {
		s.rows = append(s.rows, []string{
			f.GetServer(), yes(f.GetPrompts()), yes(f.GetResources()), yes(f.GetInstructions()), featureMode(f),
		})
	}
	if len(s.rows) == 0 {
		return nil
	}
	return []section{s}
}

func featureMode(f *resourcev1.ServerFeature) string {
	if f.GetResolveAtCallTime() != nil {
		return "resolve at call time"
	}
	return orDash(f.GetPinned().GetConnection())
}

// serverFeatures is what discovery found besides tools; no section for what there is none of.
func serverFeatures(s *resourcev1.ServerStatus) []section {
	prompts := section{title: "Prompts", header: []string{"NAME", "TITLE"}}
	for _, p := range s.GetPrompts() {
		prompts.rows = append(prompts.rows, []string{p.GetName(), orDash(text(p.GetDefinition(), "title", "description"))})
	}
	templates := section{title: "Resource templates", header: []string{"URI", "TITLE"}}
	for _, t := range s.GetTemplates() {
		templates.rows = append(templates.rows, []string{t.GetUriTemplate(), orDash(text(t.GetDefinition(), "title", "name", "description"))})
	}
	instructions := section{title: "Instructions", text: Lines(s.GetInstructions())}
	return slices.DeleteFunc([]section{prompts, templates, instructions}, func(s section) bool { return len(s.rows) == 0 && s.text == "" })
}

// text is what a definition calls itself for people: the first line of the first of the members that it has.
func text(definition []byte, members ...string) string {
	var d map[string]json.RawMessage
	if json.Unmarshal(definition, &d) != nil {
		return ""
	}
	for _, member := range members {
		var value string
		if json.Unmarshal(d[member], &value) == nil && value != "" {
			line, _, _ := strings.Cut(value, "\n")
			return line
		}
	}
	return ""
}

// capabilities names what a server declares, for example "logging, prompts (listChanged), tools".
func capabilities(raw []byte) string {
	var declared map[string]json.RawMessage
	if json.Unmarshal(raw, &declared) != nil {
		return ""
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		var inner map[string]json.RawMessage
		if json.Unmarshal(declared[name], &inner) != nil || len(inner) == 0 {
			out = append(out, name)
			continue
		}
		out = append(out, name+" ("+strings.Join(slices.Sorted(maps.Keys(inner)), ", ")+")")
	}
	return strings.Join(out, ", ")
}

func pendingInstructions(s *resourcev1.Server) string {
	if s.GetStatus().GetPendingInstructionsHash() == "" {
		return ""
	}
	return fmt.Sprintf("wait to be accepted; see: penstock server diff %s", s.GetName())
}

// questions is empty where a server may ask all there is.
func questions(q *resourcev1.Questions) string {
	if q == nil {
		return ""
	}
	var out []string
	for name, allowed := range map[string]bool{"elicitation": q.GetElicitation(), "roots": q.GetRoots(), "sampling": q.GetSampling()} {
		if allowed {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return orDash(strings.Join(out, ", "))
}

// extensions is empty for the default.
func extensions(e *resourcev1.Extensions) string {
	switch {
	case e == nil:
		return ""
	case e.GetPassthrough():
		return "all, passed through"
	default:
		return orDash(strings.Join(e.GetAllowed(), ", "))
	}
}
