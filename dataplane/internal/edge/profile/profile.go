// SPDX-License-Identifier: Apache-2.0

// Package profile renders what a gateway says of itself: serverInfo, and the answers to initialize and server/discover,
// which come from the view and touch no upstream (mcp.md M-26, M-28, M-33, M-57, M-58).
//
// edge uses it. It must never know who asks.
package profile

import (
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
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
	b = append(b, `,"capabilities":{"tools":{"listChanged":true}},"serverInfo":`...)
	b = appendInstructions(AppendIdentity(b, g, build, v), g)
	return append(b, '}')
}

// Discover returns the members of the result of server/discover that are its own. listChanged is not declared: it needs
// subscriptions/listen.
func Discover(g *view.Gateway) []byte {
	b := []byte(`{"supportedVersions":[`)
	for i, v := range wire.Supported() {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, string(v))
	}
	b = append(b, `],"capabilities":{"tools":{}}`...)
	return append(appendInstructions(b, g), '}')
}

// appendInstructions appends the member with the comma before it, nothing if there are no instructions.
func appendInstructions(b []byte, g *view.Gateway) []byte {
	if g.Instructions == "" {
		return b
	}
	return wire.AppendString(append(b, `,"instructions":`...), g.Instructions)
}
