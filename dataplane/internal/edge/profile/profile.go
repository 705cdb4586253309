// SPDX-License-Identifier: Apache-2.0

// Package profile renders what a gateway says of itself: serverInfo, and the answers to initialize and server/discover,
// which come from the view and touch no upstream (mcp.md M-26, M-28, M-33, M-57, M-58).
//
// edge uses it. It must never know who asks.
package profile

import (
	"maps"
	"slices"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// AppendServerInfo appends the serverInfo that stands in every modern result: {"name": gateway, "version": build}.
func AppendServerInfo(b []byte, g *view.Gateway, build string) []byte {
	b = wire.AppendString(append(b, `{"name":`...), g.Name)
	b = wire.AppendString(append(b, `,"version":`...), build)
	return append(b, '}')
}

// AppendIdentity appends the same for the start of a conversation, where clients show it to people: with the display
// name as title, which came with 2025-06-18.
func AppendIdentity(b []byte, g *view.Gateway, build string, v wire.Version) []byte {
	b = AppendServerInfo(b, g, build)
	if g.DisplayName == "" || !v.AtLeast(wire.V20250618) {
		return b
	}
	b = wire.AppendString(append(b[:len(b)-1], `,"title":`...), g.DisplayName)
	return append(b, '}')
}

// Initialize returns the result of initialize at a legacy version.
func Initialize(g *view.Gateway, build string, v wire.Version) []byte {
	b := wire.AppendString([]byte(`{"protocolVersion":`), string(v))
	b = appendCapabilities(append(b, `,"capabilities":`...), g, v)
	b = AppendIdentity(append(b, `,"serverInfo":`...), g, build, v)
	return append(appendInstructions(b, g), '}')
}

// Discover returns the members of the result of server/discover that are its own.
func Discover(g *view.Gateway) []byte {
	b := []byte(`{"supportedVersions":[`)
	for i, v := range wire.Supported() {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, string(v))
	}
	b = appendCapabilities(append(b, `],"capabilities":`...), g, wire.Latest)
	return append(appendInstructions(b, g), '}')
}

// appendCapabilities appends what the gateway declares at a version (M-57): tools always, the rest as the view has it.
func appendCapabilities(b []byte, g *view.Gateway, v wire.Version) []byte {
	c := &g.Capabilities
	b = append(b, `{"tools":{"listChanged":true}`...)
	if c.Prompts {
		b = append(b, `,"prompts":{"listChanged":true}`...)
	}
	if c.Resources {
		b = append(b, `,"resources":{"listChanged":true`...)
		if c.ResourcesWatched {
			b = append(b, `,"subscribe":true`...)
		}
		b = append(b, '}')
	}
	if c.Completions && v.AtLeast(wire.V20250326) {
		b = append(b, `,"completions":{}`...)
	}
	if c.Logging {
		b = append(b, `,"logging":{}`...)
	}
	if c.Tasks && v == wire.V20251125 { // never tasks.list (M-55)
		b = append(b, `,"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}`...)
	}
	return append(appendExtensions(b, c.Extensions, v), '}')
}

// appendExtensions appends the member with the comma before it. The tasks extension belongs to modern clients (M-60).
func appendExtensions(b []byte, all map[string][]byte, v wire.Version) []byte {
	start := len(b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == compile.ExtensionTasks && v.Era() != wire.Modern {
			continue
		}
		if len(b) == start {
			b = append(b, `,"extensions":{`...)
		} else {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, name), ':')
		if settings := all[name]; wire.IsObject(settings) {
			b = append(b, settings...)
		} else {
			b = append(b, `{}`...)
		}
	}
	if len(b) == start {
		return b
	}
	return append(b, '}')
}

// appendInstructions appends the member with the comma before it, nothing if there are no instructions (M-58).
func appendInstructions(b []byte, g *view.Gateway) []byte {
	if g.FullInstructions == "" {
		return b
	}
	return wire.AppendString(append(b, `,"instructions":`...), g.FullInstructions)
}
