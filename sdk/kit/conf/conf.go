// SPDX-License-Identifier: Apache-2.0

package conf

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonInvalid is settings that cannot be used; Fields has each problem.
	ReasonInvalid = "CONFIG_INVALID"
	// ReasonFile is a configuration file that cannot be read.
	ReasonFile = "CONFIG_FILE_UNREADABLE"
	// ReasonStruct is a settings struct that conf cannot describe: a bug.
	ReasonStruct = "CONFIG_STRUCT_INVALID"
)

// Prefix starts the name of every environment variable of Penstock.
const Prefix = "PENSTOCK_"

// Exit codes of [Result.Finish].
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Program is the binary and what it was started with.
type Program struct {
	Name    string // "dataplane"
	Version string // "0.1.0"
	Summary string // one sentence for --help

	Args    []string // os.Args[1:]
	Environ []string // os.Environ()

	// KnownEnv names further PENSTOCK_* variables that are no settings of this
	// program but may be set where it runs. PENSTOCK_PORT_OFFSET,
	// PENSTOCK_DATA_DIR, PENSTOCK_ADDR and PENSTOCK_TOKEN always may.
	KnownEnv []string
}

// Result is what [Load] found out besides the settings.
type Result struct {
	// Output, if not empty, is to be printed instead of starting: --help,
	// --version or --print-config was given.
	Output string
	// Values lists every setting in the order of the struct.
	Values []Value
}

// Value is one setting after loading.
type Value struct {
	Path   string // "edge.listen"
	Env    string // "PENSTOCK_EDGE_LISTEN"
	Text   string // the value as text; "[redacted]" for a secret that is set
	Origin Origin
}

// Origin says where a value comes from.
type Origin struct {
	Layer Layer
	// Where is "conf.yaml:3:5" for a file, the variable, the flag, or what was
	// done to a default.
	Where string
}

// Layer is one of the four sources of settings, in rising precedence.
type Layer string

// The layers.
const (
	LayerDefault Layer = "default"
	LayerFile    Layer = "file"
	LayerEnv     Layer = "env"
	LayerFlag    Layer = "flag"
)

// String returns for example "env PENSTOCK_EDGE_LISTEN".
func (o Origin) String() string { return strings.TrimSpace(string(o.Layer) + " " + o.Where) }

// Validator is implemented by settings structs, and groups in them, that
// check their values. A fault with Fields names paths below the struct.
type Validator interface {
	Validate() error
}

// Load fills settings, a pointer to a struct, from its defaults, the file of
// --config (or PENSTOCK_CONFIG), Environ and Args, then validates. A field
// that is not zero keeps its value as the default. On an error the settings
// are incomplete and not to be used.
//
// All problems are reported at once: an Invalid fault CONFIG_INVALID whose
// public text has one line for each, with the place it comes from and, for an
// unknown key, variable or flag, the nearest known one. Values of secrets are
// never repeated. With --print-config the Output is set even when validation
// fails.
func Load(p Program, settings any) (Result, error) {
	s, err := describe(settings)
	if err != nil {
		return Result{}, err
	}
	l := &loader{program: p, schema: s}
	args := l.readArgs()
	switch {
	case args.help:
		return Result{Output: l.help()}, nil
	case args.version:
		return Result{Output: p.Name + " " + p.Version + "\n"}, nil
	}

	l.applyDefaults()
	if err := l.applyFile(args.file); err != nil {
		return Result{}, err
	}
	l.applyEnv()
	l.applyFlags(args.flags)
	l.shiftPorts()
	if len(l.problems) > 0 {
		return Result{}, l.fault()
	}

	r := Result{Values: s.values()}
	if args.print {
		text, err := s.yaml()
		if err != nil {
			return Result{}, err
		}
		r.Output = text
	}
	l.validate()
	if len(l.problems) > 0 {
		return r, l.fault()
	}
	return r, nil
}

// Finish prints what there is to print, and tells main whether to end and
// with which exit code: 0 after --help, --version and --print-config, 2 for
// settings that cannot be used, 1 for any other error.
func (r Result) Finish(stdout, stderr io.Writer, err error) (code int, exit bool) {
	if r.Output != "" {
		if _, writeErr := io.WriteString(stdout, r.Output); writeErr != nil && err == nil {
			return exitError, true
		}
	}
	if err == nil {
		return exitOK, r.Output != ""
	}
	f := fault.From(err)
	text := f.Public
	if f.Kind == fault.Bug {
		text = err.Error()
	}
	for _, field := range f.Fields { // of what a server says of its settings; Load has them in its text
		if !strings.Contains(text, field.Problem) {
			text += "\n  " + field.Path + " " + field.Problem
		}
	}
	_, _ = fmt.Fprintln(stderr, text) // the exit code tells too
	if f.Kind == fault.Invalid {
		return exitUsage, true
	}
	return exitError, true
}

// loader carries one Load through its steps.
type loader struct {
	program  Program
	schema   *schema
	problems []problem
}

// problem is one thing wrong: path is the setting or key, where the place it
// comes from.
type problem struct {
	path, where, what string
}

func (l *loader) problem(path, where, format string, a ...any) {
	l.problems = append(l.problems, problem{path, where, fmt.Sprintf(format, a...)})
}

func (l *loader) fault() error {
	var b strings.Builder
	b.WriteString("The settings of " + l.program.Name + " cannot be used:")
	f := fault.New(fault.Invalid, ReasonInvalid, "")
	for _, p := range l.problems {
		f = f.At(p.path, p.what)
		b.WriteString("\n  ")
		if p.where != "" {
			b.WriteString(p.where + ": ")
		}
		b.WriteString(p.what)
	}
	f.Public = b.String()
	return f
}

// set gives a setting a value from one of the layers above default.
func (l *loader) set(st *setting, in input, o Origin) {
	if st.secret && in.isRedacted() {
		l.problem(st.path, o.String(), "%s is the placeholder that --print-config shows, not a secret", st.path)
		return
	}
	if err := st.assign(in); err != nil {
		if st.secret {
			err = errSecret
		}
		l.problem(st.path, o.String(), "%s %s", st.path, err)
		return
	}
	st.origin = o
}

// errSecret stands in for errors that could repeat a secret.
var errSecret = errors.New("holds a value that cannot be read as a secret")

func (l *loader) applyDefaults() {
	for _, st := range l.schema.settings {
		st.origin = Origin{Layer: LayerDefault}
		if st.hasDefault && st.value.IsZero() {
			if err := st.assign(textInput(st.def)); err != nil {
				l.problem(st.path, "default", "%s %s", st.path, err)
			}
		}
	}
}

// validate asks every group that can check itself, the inner ones first.
func (l *loader) validate() {
	for _, g := range l.schema.groups {
		v, ok := g.value.Addr().Interface().(Validator)
		if !ok {
			continue
		}
		err := v.Validate()
		if err == nil {
			continue
		}
		f, isFault := errors.AsType[*fault.Fault](err)
		if !isFault || len(f.Fields) == 0 {
			l.problem(g.path, "", "%s", strings.TrimSpace(g.path+" "+publicText(err)))
			continue
		}
		for _, field := range f.Fields {
			path := join(g.path, field.Path)
			where := ""
			if st := l.schema.byPath[path]; st != nil {
				where = st.origin.String()
			}
			l.problem(path, where, "%s %s", path, field.Problem)
		}
	}
}

func publicText(err error) string {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f.Public
	}
	return err.Error()
}
