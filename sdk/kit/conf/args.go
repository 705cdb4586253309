// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"reflect"
	"slices"
	"strings"
)

// arguments is the command line, split up but not yet applied.
type arguments struct {
	help, version, print bool
	file                 string
	flags                []flagValue
}

type flagValue struct {
	st   *setting
	name string
	text string
}

// reserved are the flags that every program has.
func reserved() []string { return []string{"help", "version", "config", "print-config"} }

func isReserved(flag string) bool { return slices.Contains(reserved(), flag) }

// readArgs splits the command line, and falls back to PENSTOCK_CONFIG for the
// file.
func (l *loader) readArgs() arguments {
	var a arguments
	if v, ok := lookup(l.program.Environ, Prefix+"CONFIG"); ok {
		a.file = v
	}
	rest := l.program.Args
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		if arg == "-h" {
			a.help = true
			continue
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag || name == "" {
			l.problem("", "", "unexpected argument %q: settings are given as --name value", arg)
			continue
		}
		name, text, hasText := strings.Cut(name, "=")
		used := l.readFlag(&a, name, text, hasText, rest)
		rest = rest[used:]
	}
	return a
}

// readFlag takes one flag and returns how many of the following arguments it
// used up as its value.
func (l *loader) readFlag(a *arguments, name, text string, hasText bool, rest []string) (used int) {
	st := l.schema.byFlag[name]
	isSwitch := st != nil && st.value.Kind() == reflect.Bool
	switch {
	case name == "help" || name == "version" || name == "print-config":
		if hasText {
			l.problem("", "", "--%s takes no value", name)
			return 0
		}
		a.help, a.version, a.print = a.help || name == "help", a.version || name == "version", a.print || name == "print-config"
		return 0
	case st == nil && name != "config":
		l.problem(name, "", "unknown flag --%s%s", name, l.schema.suggestFlag(name))
		// What follows an unknown flag may be its value: say one thing, not two.
		if !hasText && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			return 1
		}
		return 0
	case isSwitch && !hasText:
		text = "true"
	case !hasText:
		if len(rest) == 0 || strings.HasPrefix(rest[0], "--") {
			l.problem(name, "", "--%s needs a value (one that begins with two dashes is written --%s=VALUE)", name, name)
			return 0
		}
		text, used = rest[0], 1
	}
	if name == "config" {
		a.file = text
		return used
	}
	a.flags = append(a.flags, flagValue{st, name, text})
	return used
}

// applyFlags sets the flags in their order: the last of a repeated flag wins,
// and a repeated list or mapping grows.
func (l *loader) applyFlags(flags []flagValue) {
	given := map[*setting]bool{}
	for _, f := range flags {
		in := textInput(f.text)
		in.more = given[f.st]
		given[f.st] = true
		l.set(f.st, in, Origin{LayerFlag, "--" + f.name})
	}
}

// applyEnv sets what PENSTOCK_* variables name. An empty variable is as good
// as none, because compose files and shells pass on empty ones.
func (l *loader) applyEnv() {
	known := append([]string{
		Prefix + "CONFIG", envPortOffset, Prefix + "DATA_DIR", Prefix + "ADDR", Prefix + "TOKEN",
	}, l.program.KnownEnv...)
	for _, entry := range l.program.Environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, Prefix) {
			continue
		}
		st := l.schema.byEnv[name]
		switch {
		case st == nil && !slices.Contains(known, name):
			l.problem(name, "", "unknown environment variable %s%s", name, l.schema.suggestEnv(name, known))
		case st != nil && text != "":
			l.set(st, textInput(text), Origin{LayerEnv, name})
		}
	}
}

// lookup returns the value of a variable that is set and not empty; the last
// of several counts, as for os/exec.
func lookup(environ []string, name string) (value string, ok bool) {
	for _, entry := range environ {
		if n, v, _ := strings.Cut(entry, "="); n == name && v != "" {
			value, ok = v, true
		}
	}
	return value, ok
}
