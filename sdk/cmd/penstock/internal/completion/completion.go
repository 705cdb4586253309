// SPDX-License-Identifier: Apache-2.0

// Package completion writes shell completion scripts for a kong command line.
//
// It owns the three dialects. Package command calls it with its own grammar, so that the scripts never lag behind. It must never
// know what a command does.
package completion

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells returns the shells a script can be written for.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// entry is what can follow one command path.
type entry struct {
	path  string // "server discover"; "" for the program itself
	words []word
}

type word struct{ text, help string }

// Script returns the script of one shell for a program; the shell is one of [Shells].
func Script(shell string, root *kong.Node) (string, error) {
	entries := walk(root, "", nil)
	switch shell {
	case "bash":
		return bash(root.Name, entries), nil
	case "zsh":
		// zsh runs bash completions; one grammar less that could be wrong.
		return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash(root.Name, entries), nil
	case "fish":
		return fish(root.Name, entries), nil
	default:
		return "", fmt.Errorf("no completion for shell %q; known: %s", shell, strings.Join(Shells(), ", "))
	}
}

// walk lists the entries of a command and of those below it. Flags of the commands above are offered everywhere.
func walk(n *kong.Node, path string, inherited []word) []entry {
	flags := slices.Clone(inherited)
	for _, f := range n.Flags {
		if !f.Hidden {
			flags = append(flags, word{"--" + f.Name, f.Help})
		}
	}
	here := entry{path: path}
	var below []entry
	for _, c := range n.Children {
		if c.Hidden {
			continue
		}
		here.words = append(here.words, word{c.Name, c.Help})
		below = append(below, walk(c, strings.TrimSpace(path+" "+c.Name), flags)...)
	}
	for _, p := range n.Positional {
		for _, v := range strings.Split(p.Enum, ",") {
			if v = strings.TrimSpace(v); v != "" {
				here.words = append(here.words, word{v, ""})
			}
		}
	}
	here.words = append(here.words, flags...)
	return append([]entry{here}, below...)
}

// bash keeps track of the command path among the words before the cursor, and offers what may follow it.
func bash(program string, entries []entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "_%s() {\n", program)
	b.WriteString("  local cur=\"${COMP_WORDS[COMP_CWORD]}\" path=\"\" word i\n")
	b.WriteString("  for ((i = 1; i < COMP_CWORD; i++)); do\n    word=\"${COMP_WORDS[i]}\"\n    case \"${path:+$path }$word\" in\n")
	var paths []string
	for _, e := range entries[1:] {
		paths = append(paths, "\""+e.path+"\"")
	}
	fmt.Fprintf(&b, "      %s) path=\"${path:+$path }$word\" ;;\n    esac\n  done\n", strings.Join(paths, " | "))
	b.WriteString("  case \"$path\" in\n")
	for _, e := range entries {
		texts := make([]string, len(e.words))
		for i, w := range e.words {
			texts[i] = w.text
		}
		fmt.Fprintf(&b, "    \"%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", e.path, strings.Join(texts, " "))
	}
	fmt.Fprintf(&b, "  esac\n}\ncomplete -o default -F _%s %s\n", program, program)
	return b.String()
}

// fish gives each word a condition on the words before the cursor.
func fish(program string, entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		var below []string
		for _, other := range entries {
			if rest, ok := strings.CutPrefix(other.path, strings.TrimLeft(e.path+" ", " ")); ok && rest != "" && !strings.Contains(rest, " ") {
				below = append(below, rest)
			}
		}
		var conditions []string
		for step := range strings.FieldsSeq(e.path) {
			conditions = append(conditions, "__fish_seen_subcommand_from "+step)
		}
		if len(below) > 0 {
			conditions = append(conditions, "not __fish_seen_subcommand_from "+strings.Join(below, " "))
		}
		for _, w := range e.words {
			what := "-a " + fishQuoted(w.text)
			if flag, ok := strings.CutPrefix(w.text, "--"); ok {
				what = "-l " + fishQuoted(flag)
			}
			fmt.Fprintf(&b, "complete -c %s -n %s %s", program, fishQuoted(strings.Join(conditions, "; and ")), what)
			if w.help != "" {
				fmt.Fprintf(&b, " -d %s", fishQuoted(w.help))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func fishQuoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
