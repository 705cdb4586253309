// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// values lists the settings for [Result].
func (s *schema) values() []Value {
	var list []Value
	for _, st := range s.settings {
		list = append(list, Value{Path: st.path, Env: st.env, Text: st.text(), Origin: st.origin})
	}
	return list
}

// yaml returns the settings as a file with the origin of each as a comment.
// Given to --config it means the same, but for the secrets.
func (s *schema) yaml() (string, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	groups := map[string]*yaml.Node{"": root}
	for _, st := range s.settings {
		prefix, name := "", st.path
		if i := strings.LastIndexByte(st.path, '.'); i >= 0 {
			prefix, name = st.path[:i], st.path[i+1:]
		}
		parent := ensure(groups, prefix)
		parent.Content = append(parent.Content, scalarNode(name), st.node())
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return "", fmt.Errorf("encode settings: %w", err)
	}
	return b.String(), nil
}

// ensure returns the mapping of a group and makes those it stands in.
func ensure(groups map[string]*yaml.Node, path string) *yaml.Node {
	if n := groups[path]; n != nil {
		return n
	}
	prefix, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		prefix, name = path[:i], path[i+1:]
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	parent := ensure(groups, prefix)
	parent.Content = append(parent.Content, scalarNode(name), n)
	groups[path] = n
	return n
}

// node is the value with its origin as a comment.
func (st *setting) node() *yaml.Node {
	n := scalarNode(st.text())
	if texts, isList := st.elements(); isList && !st.secret {
		n = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, t := range texts {
			n.Content = append(n.Content, scalarNode(t))
		}
		if st.value.Kind() == reflect.Map {
			n = st.mappingNode()
		}
	}
	n.LineComment = st.origin.String()
	return n
}

func (st *setting) mappingNode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	pairs := st.pairs()
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		n.Content = append(n.Content, scalarNode(k), scalarNode(pairs[k]))
	}
	return n
}

// scalarNode has no tag: the loader reads the text of a scalar whatever YAML
// takes it for, except null.
func scalarNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if n.ShortTag() == "!!null" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// help is what --help prints.
func (l *loader) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", l.program.Name, l.program.Version)
	if l.program.Summary != "" {
		fmt.Fprintf(&b, "%s\n", l.program.Summary)
	}
	fmt.Fprintf(&b, `
Usage: %s [--name value ...]

Settings come from the defaults, the file of --config, environment variables
and flags; each overrides the one before.%s

  --help
        Print this text and exit.
  --version
        Print the version and exit.
  --config FILE
        Read settings from this YAML file. (env %sCONFIG)
  --print-config
        Print every setting with its origin, secrets redacted, and exit.

`, l.program.Name, l.schema.example(), Prefix)
	for _, st := range l.schema.settings {
		fmt.Fprintf(&b, "  --%s%s\n        %s\n", st.path, st.placeholder(), st.describe())
	}
	fmt.Fprintf(&b, "\n%s is added to every default port.\n", envPortOffset)
	return b.String()
}

// example explains dotted names with the first one that there is.
func (s *schema) example() string {
	for _, st := range s.settings {
		if i := strings.LastIndexByte(st.path, '.'); i >= 0 {
			return fmt.Sprintf(" In the file, %s is %q\nin the mapping %q; as a flag it may also be written --%s.",
				st.path, st.path[i+1:], st.path[:i], st.flag)
		}
	}
	return ""
}

// placeholder is the kind of value, for help.
func (st *setting) placeholder() string {
	t := st.value.Type()
	switch {
	case len(st.enum) > 0:
		return " " + strings.Join(st.enum, "|")
	case isDuration(t):
		return " DURATION"
	case t == reflect.TypeFor[Size]():
		return " SIZE"
	case t.Kind() == reflect.Bool:
		return ""
	case st.port:
		return " ADDRESS"
	case t.Kind() == reflect.Slice && !isText(t):
		return " VALUE,..."
	case t.Kind() == reflect.Map && !isText(t):
		return " KEY=VALUE,..."
	case t.Kind() == reflect.String || isText(t):
		return " TEXT"
	default:
		return " NUMBER"
	}
}

func (st *setting) describe() string {
	text := "Set " + st.path + "."
	if st.help != "" {
		text = strings.ToUpper(st.help[:1]) + strings.TrimSuffix(st.help[1:], ".") + "."
	}
	if st.def != "" && !st.secret {
		text += " Default " + st.def + "."
	}
	return text + " (env " + st.env + ")"
}
