// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxName is the longest name a tool can have on a gateway, in characters (G-14).
	MaxName = 64
	// Separator stands between the server's and the tool's part of a prefixed name. Names are looked up, never split.
	Separator = "__"

	hashDigits = 8
	// minServer is how much of a server's name is left when the tool's name is long.
	minServer = 1
)

// Prefix says when the server's name is put in front of a tool's name (G-14).
type Prefix uint8

// The ways to name. The zero value is the default.
const (
	PrefixAlways     Prefix = iota // "<server>__<tool>"
	PrefixOnConflict               // only on tools that would have one name; then on all of them
	PrefixNever                    // bare names; two equal ones are a problem
)

// NamedTool is one tool of a gateway. Exposed is the name an administrator chose, empty for the computed one.
type NamedTool struct {
	Server, Upstream, Exposed string
}

// NameProblem says why a tool cannot be on a gateway beside the others. Index is its place in the input.
type NameProblem struct {
	Index    int
	Reserved bool   // the name is one of the gateway's own (G-26); else another tool has it
	Name     string // the name that is taken
	Other    int    // the tool that has it, if not Reserved
}

// The gateway's own tools, which are all that is listed where tools are loaded when needed (G-20, G-23).
const (
	SearchTools = "search_tools"
	RunTool     = "run_tool"
)

// Reserved reports whether no tool may have a name because the gateway's own tools have it (G-26).
func Reserved(name string) bool { return name == SearchTools || name == RunTool }

// Names computes the names that the tools of one gateway have, in the order of tools. It is a pure function of the set
// of tools: their order does not matter.
//
// A prefixed name is "<server>__<upstream name>" with every character outside [A-Za-z0-9_-] replaced by "_" and at most
// 64 characters: the server's part is trimmed first, to one character at least, and if the tool's part is too long even
// then, it is cut and ends in "-" and 8 hexadecimal digits of the SHA-256 of "<server>/<upstream name>". Prefixed names
// that collide after that all get such a suffix. A bare name is the upstream's own, cut in the same way if it is longer
// than 64 characters. Chosen names are taken as they are.
//
// The problems are names that are reserved, and equal names that no rule keeps apart; with any, the names are not to be
// used.
func Names(prefix Prefix, tools []NamedTool) ([]string, []NameProblem) {
	names := expose(prefix, tools, Reserved)
	return names, problems(names, Reserved)
}

// PromptNames is [Names] for prompts, of which no name is reserved. Prompts come and go with discoveries, after the
// gateway was written, so equal bare names are no problem that stays: where PrefixNever would give several prompts one
// name, they get prefixes as with PrefixOnConflict, and clash names them, by their places in the input.
func PromptNames(prefix Prefix, prompts []NamedTool) (names []string, clash []int) {
	free := func(string) bool { return false }
	if prefix == PrefixNever {
		for _, same := range groups(expose(prefix, prompts, free)) {
			if len(same) > 1 {
				clash = append(clash, same...)
			}
		}
		slices.Sort(clash)
		prefix = PrefixOnConflict
	}
	return expose(prefix, prompts, free), clash
}

func expose(prefix Prefix, tools []NamedTool, reserved func(string) bool) []string {
	names := make([]string, len(tools))
	prefixed := make([]bool, len(tools))
	for i, t := range tools {
		switch {
		case t.Exposed != "":
			names[i] = t.Exposed
		case prefix == PrefixAlways:
			names[i], prefixed[i] = prefixedName(t), true
		default:
			names[i] = bareName(t)
		}
	}
	if prefix == PrefixOnConflict {
		prefixClashing(tools, names, prefixed, reserved)
	}
	hashClashing(tools, names, prefixed)
	return names
}

// prefixClashing puts prefixes on all sides of each clash, until none is left that a prefix would solve: a prefixed name
// may be the bare name of another tool.
func prefixClashing(tools []NamedTool, names []string, prefixed []bool, reserved func(string) bool) {
	for again := true; again; {
		again = false
		for _, same := range groups(names) {
			for _, i := range same {
				if (len(same) > 1 || reserved(names[i])) && tools[i].Exposed == "" && !prefixed[i] {
					names[i], prefixed[i], again = prefixedName(tools[i]), true, true
				}
			}
		}
	}
}

// hashClashing tells prefixed names apart that replacing or trimming made equal.
func hashClashing(tools []NamedTool, names []string, prefixed []bool) {
	for _, same := range groups(names) {
		for _, i := range same {
			if len(same) > 1 && prefixed[i] {
				names[i] = hashed(names[i], MaxName, tools[i])
			}
		}
	}
}

// groups returns the indices of each name.
func groups(names []string) map[string][]int {
	out := make(map[string][]int, len(names))
	for i, n := range names {
		out[n] = append(out[n], i)
	}
	return out
}

func problems(names []string, reserved func(string) bool) []NameProblem {
	var out []NameProblem
	first := make(map[string]int, len(names))
	for i, n := range names {
		other, taken := first[n]
		switch {
		case reserved(n):
			out = append(out, NameProblem{Index: i, Reserved: true, Name: n})
		case taken:
			out = append(out, NameProblem{Index: i, Name: n, Other: other})
		default:
			first[n] = i
		}
	}
	return out
}

func prefixedName(t NamedTool) string {
	server, tool := replace(t.Server), replace(t.Upstream)
	room := MaxName - len(Separator) - minServer
	if len(tool) > room {
		tool = hashed(tool, room, t)
	}
	return server[:min(len(server), MaxName-len(Separator)-len(tool))] + Separator + tool
}

func bareName(t NamedTool) string {
	if utf8.RuneCountInString(t.Upstream) <= MaxName {
		return t.Upstream
	}
	return hashed(t.Upstream, MaxName, t)
}

// hashed cuts a name so that it is at most most characters long with its suffix.
func hashed(name string, most int, t NamedTool) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s", t.Server, t.Upstream))
	suffix := "-" + hex.EncodeToString(sum[:])[:hashDigits]
	runes := []rune(name)
	return string(runes[:min(len(runes), most-len(suffix))]) + suffix
}

// replace makes a name of the characters that model providers accept (M-62).
func replace(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '_', r == '-':
			return r
		default:
			return '_'
		}
	}, name)
}
