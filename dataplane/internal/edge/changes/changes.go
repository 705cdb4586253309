// SPDX-License-Identifier: Apache-2.0

// Package changes says which lists of a gateway answer differently under a newer snapshot, for the list_changed
// notifications of long streams (mcp.md M-71, G-17).
//
// edge uses it. It must never know streams or clients.
package changes

import (
	"bytes"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Set names lists that changed. Resources stands for resources and their templates, which share a notification.
type Set struct{ Tools, Prompts, Resources bool }

// And returns what both sets name.
func (s Set) And(o Set) Set {
	return Set{s.Tools && o.Tools, s.Prompts && o.Prompts, s.Resources && o.Resources}
}

// All names what a gateway has lists of.
func All(g *view.Gateway) Set {
	return Set{Tools: true, Prompts: g.Capabilities.Prompts, Resources: g.Capabilities.Resources}
}

// Notifications calls send for each list that the set names, with the whole message.
func (s Set) Notifications(send func(message []byte)) {
	for _, kind := range [...]struct {
		changed bool
		method  string
	}{{s.Tools, "notifications/tools/list_changed"}, {s.Prompts, "notifications/prompts/list_changed"}, {s.Resources, "notifications/resources/list_changed"}} {
		if kind.changed {
			send([]byte(`{"jsonrpc":"2.0","method":"` + kind.method + `"}`))
		}
	}
}

// Between compares what is listed of a gateway: old under the snapshot was, now under is.
func Between(was *view.Snapshot, old *view.Gateway, is *view.Snapshot, now *view.Gateway) Set {
	var s Set
	switch {
	case old.LoadToolsWhenNeeded != now.LoadToolsWhenNeeded:
		s.Tools = true
	case now.LoadToolsWhenNeeded: // the two are always the same
	case old != now || was.HasDenials() || is.HasDenials():
		s.Tools = !slices.EqualFunc(was.Tools(old), is.Tools(now), sameTool)
	}
	if old != now {
		s.Prompts = !slices.EqualFunc(old.Prompts, now.Prompts, samePrompt)
		s.Resources = !slices.EqualFunc(old.Templates, now.Templates, sameTemplate) ||
			!slices.Equal(old.ResourceFeatures(), now.ResourceFeatures()) || old.AlwaysURIs != now.AlwaysURIs
	}
	return s
}

func sameTool(a, b *view.Tool) bool {
	return a == b || (a.Exposed == b.Exposed && a.Description == b.Description &&
		(a.Body == b.Body || bytes.Equal(a.Body.Bytes(), b.Body.Bytes())))
}

func samePrompt(a, b *compile.Prompt) bool {
	return a == b || (a.Exposed == b.Exposed && bytes.Equal(a.Body, b.Body))
}

func sameTemplate(a, b *compile.Template) bool {
	return a == b || (a.URI == b.URI && bytes.Equal(a.Body, b.Body))
}
