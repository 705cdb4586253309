// SPDX-License-Identifier: Apache-2.0

package spelling

import (
	"bytes"
	"slices"
)

// Names are the names of arguments that a condition reads. A nil Names are none.
type Names struct {
	// Top are members of the arguments themselves.
	Top []string
	// Inner are members of any object in the arguments, these included.
	Inner []string
	// All says that there are others, which only an evaluation knows.
	All bool
}

// Doubtful reports whether [Names.Check] has to look at arguments, raw JSON. It is quick and allocates nothing: where no name is alike
// to one that is read, and all are known, there is nothing to check.
func (n *Names) Doubtful(arguments []byte) bool {
	if n == nil || len(arguments) == 0 {
		return false
	}
	if n.All {
		return true
	}
	depth := 0
	for i := 0; i < len(arguments); {
		switch arguments[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			name, escaped, after := text(arguments, i)
			i = after
			if !isName(arguments, after) {
				continue
			}
			if escaped || n.doubts(name, depth == 1) {
				return true
			}
			continue
		}
		i++
	}
	return false
}

// text returns what is between the quotes of the string at i, and where it ends.
func text(raw []byte, i int) (in []byte, escaped bool, after int) {
	for at := i + 1; at < len(raw); at++ {
		switch raw[at] {
		case '"':
			return raw[i+1 : at], escaped, at + 1
		case '\\':
			escaped = true
			at++
		}
	}
	return raw[i+1:], true, len(raw)
}

// isName reports whether the string that ends before i is the name of a member.
func isName(raw []byte, i int) bool {
	for ; i < len(raw); i++ {
		switch raw[i] {
		case ' ', '\t', '\r', '\n':
		case ':':
			return true
		default:
			return false
		}
	}
	return false
}

func (n *Names) doubts(name []byte, top bool) bool {
	if slices.ContainsFunc(n.Inner, func(one string) bool { return one == string(name) }) ||
		top && slices.ContainsFunc(n.Top, func(one string) bool { return one == string(name) }) {
		return false
	}
	return alikeOne(n.Inner, name) || top && alikeOne(n.Top, name)
}

func alikeOne(list []string, name []byte) bool {
	for _, one := range list {
		if Alike(one, name) {
			return true
		}
	}
	return false
}

// meant returns the name that is read and that another one is alike to; ok is false if there is none, or the name is read itself.
func (n *Names) meant(name string, top bool) (read string, ok bool) {
	lists := [][]string{n.Inner}
	if top {
		lists = append(lists, n.Top)
	}
	for _, list := range lists {
		if slices.Contains(list, name) {
			return "", false
		}
		if i := slices.IndexFunc(list, func(one string) bool { return Alike(one, name) }); i >= 0 && !ok {
			read, ok = list[i], true
		}
	}
	return read, ok
}

// Add notes a name.
func (n *Names) Add(name string, top bool) {
	list := &n.Inner
	if top {
		list = &n.Top
	}
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// isObject reports whether raw JSON is an object.
func isObject(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}
