// SPDX-License-Identifier: Apache-2.0

package pages

import "strings"

// Scopes returns scopes with their meaning in plain words: those of gateways are "mcp" and "mcp:<word>" for tools that need
// more.
func Scopes(names []string) []Scope {
	list := make([]Scope, 0, len(names))
	for _, name := range names {
		text := "Do what the permission of this name stands for"
		switch word, more := strings.CutPrefix(name, "mcp:"); {
		case name == "mcp":
			text = "Use the tools of this gateway in your name"
		case name == "offline_access":
			text = "Stay connected while you are away, until you remove it"
		case more:
			text = "Use tools that need the permission “" + word + "” in your name"
		}
		list = append(list, Scope{Name: name, Text: text})
	}
	return list
}
