// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Each row is one mistake and what the user is told about it.
func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		env  []string
		file string
		want string // a line of the text; FILE stands for the file
	}{
		{"unknown flag", []string{"--edge.lisen", "x"}, nil, "", "unknown flag --edge.lisen; did you mean --edge.listen?"},
		{"unknown kebab flag", []string{"--edge-call-timout=1s"}, nil, "", "unknown flag --edge-call-timout; did you mean --edge-call-timeout?"},
		{"unknown flag, nothing near", []string{"--zebra-stripes"}, nil, "", "unknown flag --zebra-stripes"},
		{"misspelt reserved flag", []string{"--print-confg"}, nil, "", "unknown flag --print-confg; did you mean --print-config?"},
		{"positional argument", []string{"start"}, nil, "", `unexpected argument "start": settings are given as --name value`},
		{"single dash", []string{"-demo"}, nil, "", `unexpected argument "-demo": settings are given as --name value`},
		{"only dashes", []string{"--"}, nil, "", `unexpected argument "--": settings are given as --name value`},
		{"flag without its value", []string{"--data-dir"}, nil, "", "--data-dir needs a value (one that begins with two dashes is written --data-dir=VALUE)"},
		{"flag followed by a flag", []string{"--data-dir", "--demo"}, nil, "", "--data-dir needs a value (one that begins with two dashes is written --data-dir=VALUE)"},
		{"config without a file", []string{"--config"}, nil, "", "--config needs a value (one that begins with two dashes is written --config=VALUE)"},
		{"value for a flag without one", []string{"--version=1"}, nil, "", "--version takes no value"},

		{"unknown variable", nil, []string{"PENSTOCK_EDGE_LISTN=x"}, "", "unknown environment variable PENSTOCK_EDGE_LISTN; did you mean PENSTOCK_EDGE_LISTEN?"},
		{"unknown variable near a known one", nil, []string{"PENSTOCK_PORT_OFSET=1"}, "", "unknown environment variable PENSTOCK_PORT_OFSET; did you mean PENSTOCK_PORT_OFFSET?"},
		{"unknown empty variable", nil, []string{"PENSTOCK_ZEBRA="}, "", "unknown environment variable PENSTOCK_ZEBRA"},

		{"unknown key", nil, nil, "edge:\n  listenn: x\n", `FILE:2:3: unknown key "edge.listenn"; did you mean "edge.listen"?`},
		{"unknown group", nil, nil, "egde:\n  listen: x\n", `FILE:1:1: unknown key "egde"; did you mean "edge"?`},
		{"key in the wrong group", nil, nil, "call_timeout: 5s\n", `FILE:1:1: unknown key "call_timeout"; did you mean "edge.call_timeout"?`},
		{"flag style in the file", nil, nil, "data-dir: x\n", `FILE:1:1: unknown key "data-dir"; did you mean "data_dir"?`},
		{"key twice", nil, nil, "workers: 1\nworkers: 2\n", "FILE:2:1: workers stands twice in the file"},
		{"key twice, once dotted", nil, nil, "edge.listen: a:1\nedge: {listen: b:1}\n", "FILE:2:8: edge.listen stands twice in the file"},
		{"group twice", nil, nil, "edge: {listen: a:1}\nedge: {max_body: 1}\n", "FILE:2:1: edge stands twice in the file"},
		{"value in place of a group", nil, nil, "edge: 5\n", "FILE:1:7: edge is a group of settings, not a value"},
		{"list at the top", nil, nil, "- a\n", "FILE:1:1: the file is not a mapping from settings to values"},
		{"no value", nil, nil, "workers:\n", "FILE:1:9: workers has no value: leave the key out to keep the default"},
		{"mapping in place of a value", nil, nil, "workers: {a: 1}\n", "file FILE:1:10: workers is a single value, not a list or mapping"},
		{"list in place of a mapping", nil, nil, "labels: [a]\n", "file FILE:1:9: labels is a mapping, not a list"},
		{"mapping in place of a list", nil, nil, "edge: {hosts: {a: 1}}\n", "file FILE:1:15: edge.hosts is a list, not a mapping"},
		{"list of lists", nil, nil, "edge: {hosts: [[a]]}\n", "FILE:1:15: edge.hosts holds an element that is not a single value"},
		{"mapping of lists", nil, nil, "labels: {a: [b]}\n", "FILE:1:9: labels holds an entry that is not a single value"},
		{"mapping with a key twice", nil, nil, "labels: {a: b, a: c}\n", "FILE:1:9: labels holds the key a twice"},

		{"not a number", nil, nil, "workers: many\n", `file FILE:1:10: workers is "many", not a whole number`},
		{"out of range", nil, []string{"PENSTOCK_WORKERS=256"}, "", `env PENSTOCK_WORKERS: workers is "256", which is out of range`},
		{"negative", []string{"--workers", "-1"}, nil, "", `flag --workers: workers is "-1", which is out of range`},
		{"no integer", []string{"--delta", "1.5"}, nil, "", `flag --delta: delta is "1.5", not a whole number`},
		{"no float", []string{"--ratio", "half"}, nil, "", `flag --ratio: ratio is "half", not a number`},
		{"no bool", []string{"--demo=maybe"}, nil, "", `flag --demo: demo is "maybe", neither true nor false`},
		{"duration without a unit", nil, nil, "edge: {call_timeout: 60}\n", `file FILE:1:22: edge.call_timeout is "60", not a duration with a unit such as 500ms, 60s, 15m, 12h or 30d`},
		{"not a size", []string{"--edge.max-body", "big"}, nil, "", "unknown flag --edge.max-body; did you mean --edge.max_body?"},
		{"bad size", []string{"--edge-max-body", "big"}, nil, "", `flag --edge-max-body: edge.max_body is "big": not a size such as 512, 64KiB, 10MiB or 2GB`},
		{"not in the list", []string{"--log-level", "loud"}, nil, "", `flag --log-level: log_level is "loud", which is not one of debug, info, warn, error`},
		{"bad element", []string{"--networks", "10.0.0.0/8,x"}, nil, "", `flag --networks: networks element 2 is "x": netip.ParsePrefix("x"): no '/'`},
		{"bad pair", []string{"--labels", "a"}, nil, "", "flag --labels: labels is not a list of key=value"},
		{"bad entry", []string{"--waits", "a=5"}, nil, "", `flag --waits: waits entry "a" is "5", not a duration with a unit such as 500ms, 60s, 15m, 12h or 30d`},
		{"bad text type", []string{"--bind", "here"}, nil, "", `flag --bind: bind is "here": ParseAddr("here"): unable to parse IP`},

		{"group refuses", []string{"--edge.call_timeout=0s"}, nil, "", "flag --edge.call_timeout: edge.call_timeout must be above zero"},
		{"program refuses", nil, []string{"PENSTOCK_DATA_DIR=/"}, "", "data_dir must not be the root directory"},
		{"port offset no number", nil, []string{"PENSTOCK_PORT_OFFSET=x"}, "", `PENSTOCK_PORT_OFFSET is "x", not a number from 0 to 65535.`},
		{"port offset too large", nil, []string{"PENSTOCK_PORT_OFFSET=60000"}, "", "PENSTOCK_PORT_OFFSET shifts the default address 127.0.0.1:8080 to port 68080."},
		{"placeholder of a secret", nil, nil, "token: '[redacted]'\n", "file FILE:1:8: token is the placeholder that --print-config shows, not a secret"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := program(tc.args...)
			p.Environ = tc.env
			want := tc.want
			if tc.file != "" {
				name := file(t, tc.file)
				p.Args = append(p.Args, "--config", name)
				want = strings.ReplaceAll(want, "FILE", name)
			}
			_, err := conf.Load(p, &settings{})
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || f.Reason != conf.ReasonInvalid {
				t.Fatalf("got %v", err)
			}
			lines := strings.Split(f.Public, "\n  ")
			if lines[0] != "The settings of dataplane cannot be used:" || len(f.Fields) != len(lines)-1 {
				t.Errorf("got %q with fields %v", f.Public, f.Fields)
			}
			if d := cmp.Diff(want, lines[1]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	p := program("--config", file(t, "egde: {}\nworkers: x\n"), "--zebra", "5", "--ratio=x", "--unknown")
	p.Environ = []string{"PENSTOCK_NONSENSE_SETTING=1"}
	_, err := conf.Load(p, &settings{})
	if f := fault.From(err); f == nil || len(f.Fields) != 6 {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, tc := range []struct{ name, file, says string }{
		{"missing", "/nowhere/penstock.yaml", "/nowhere/penstock.yaml cannot be read: no such file or directory"},
		{"a directory", t.TempDir(), "is a directory"},
		{"not YAML", file(t, "a: [1\n"), "is not YAML: "},
		{"two documents", file(t, "workers: 1\n---\nworkers: 2\n"), "holds more than one document"},
		{"too large", file(t, strings.Repeat("# comment\n", 1<<17)), "larger than 1 MiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := conf.Load(program("--config", tc.file), &settings{})
			if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Reason != conf.ReasonFile || !strings.Contains(f.Public, tc.says) {
				t.Errorf("got %v, want %q in it", err, tc.says)
			}
		})
	}
}

func TestKnownVariablesOfOtherProgramsAreNoMistake(t *testing.T) {
	p := program()
	p.KnownEnv = []string{"PENSTOCK_TEST_DATABASE"}
	p.Environ = []string{
		"PENSTOCK_PORT_OFFSET=0", "PENSTOCK_ADDR=http://127.0.0.1:8081", "PENSTOCK_TEST_DATABASE=x", "PENSTOCK_CONFIG=", "PENSTOCKADE=1",
	}
	if _, err := conf.Load(p, &settings{}); err != nil {
		t.Error(err)
	}
	var none struct{}
	p.Environ = append(p.Environ, "PENSTOCK_DATA_DIR=x", "PENSTOCK_TOKEN=y")
	if _, err := conf.Load(p, &none); err != nil {
		t.Errorf("a program without these settings: %v", err)
	}
}
