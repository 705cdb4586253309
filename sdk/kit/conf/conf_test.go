// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

type logging struct {
	LogLevel string `default:"info" enum:"debug,info,warn,error" help:"least level that is logged"`
}

type edge struct {
	Listen      string        `name:"listen" default:"127.0.0.1:8080" port:"shift" help:"where MCP clients connect"`
	CallTimeout time.Duration `name:"call_timeout" default:"60s" help:"how long a call may take"`
	MaxBody     conf.Size     `default:"4MiB"`
	Hosts       []string      `default:"localhost,127.0.0.1"`
}

func (e *edge) Validate() error {
	if e.CallTimeout <= 0 {
		return fault.New(fault.Invalid, "X", "x").At("call_timeout", "must be above zero")
	}
	return nil
}

type settings struct {
	logging
	Edge      edge                     `name:"edge"`
	Demo      bool                     `help:"start with a demo"`
	DataDir   string                   `default:".penstock" help:"where data is kept"`
	Token     obs.Secret               `help:"the token"`
	Pepper    string                   `secret:"true"`
	Workers   uint8                    `default:"4"`
	Ratio     float64                  `default:"0.5"`
	Delta     int32                    `default:"-3"`
	Labels    map[string]string        `default:"a=1,b=2"`
	Waits     map[string]time.Duration ``
	Networks  []netip.Prefix           ``
	Bind      netip.Addr               `default:"127.0.0.1"`
	Authority string                   `default:"http://127.0.0.1:8083/x" port:"shift"`
}

func (s *settings) Validate() error {
	if s.DataDir == "/" {
		return errors.New("data_dir must not be the root directory")
	}
	return nil
}

func program(args ...string) conf.Program {
	return conf.Program{Name: "dataplane", Version: "1.2.3", Summary: "Serves MCP clients.", Args: args}
}

func defaults() settings {
	return settings{
		logging: logging{LogLevel: "info"},
		Edge: edge{
			Listen: "127.0.0.1:8080", CallTimeout: time.Minute, MaxBody: 4 << 20, Hosts: []string{"localhost", "127.0.0.1"},
		},
		DataDir: ".penstock", Workers: 4, Ratio: 0.5, Delta: -3, Labels: map[string]string{"a": "1", "b": "2"},
		Bind: netip.MustParseAddr("127.0.0.1"), Authority: "http://127.0.0.1:8083/x",
	}
}

func diff(want, got settings) string {
	return cmp.Diff(want, got, cmp.AllowUnexported(settings{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty())
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "penstock.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func origins(r conf.Result) map[string]string {
	m := map[string]string{}
	for _, v := range r.Values {
		m[v.Path] = v.Origin.String()
	}
	return m
}

// Architecture section 2: defaults, file, environment, flags, in rising
// precedence, each value with its origin.
func TestLayers(t *testing.T) {
	var got settings
	r, err := conf.Load(program(), &got)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(defaults(), got); d != "" {
		t.Errorf("defaults: %s", d)
	}
	if r.Output != "" {
		t.Errorf("output %q", r.Output)
	}

	name := file(t, `
log_level: debug
edge:
  listen: 0.0.0.0:9000
  call_timeout: 5s
  hosts: [a.example, b.example]
labels: {c: 3}
networks:
- 10.0.0.0/8
workers: 0010
pepper: &p salt
token: *p
`)
	p := program("--config", name, "--edge.call_timeout=7s", "--edge-hosts", "x", "--edge.hosts", "y,z", "--demo", "--waits", "a=1s", "--waits=b=2d")
	p.Environ = []string{"HOME=/root", "PENSTOCK_EDGE_CALL_TIMEOUT=6s", "PENSTOCK_EDGE_MAX_BODY=1KiB", "PENSTOCK_LOG_LEVEL=", "PENSTOCK_DELTA=-7", "PENSTOCK_ADDR=http://x", "PENSTOCK_RATIO=1e-3"}
	got = settings{}
	r, err = conf.Load(p, &got)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.LogLevel = "debug"
	want.Edge = edge{Listen: "0.0.0.0:9000", CallTimeout: 7 * time.Second, MaxBody: 1024, Hosts: []string{"x", "y", "z"}}
	want.Labels = map[string]string{"c": "3"}
	want.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	want.Workers, want.Pepper, want.Token, want.Demo, want.Delta, want.Ratio = 10, "salt", "salt", true, -7, 0.001
	want.Waits = map[string]time.Duration{"a": time.Second, "b": 48 * time.Hour}
	if d := diff(want, got); d != "" {
		t.Error(d)
	}
	wantOrigins := map[string]string{
		"log_level": "file " + name + ":2:12", "edge.listen": "file " + name + ":4:11", "edge.call_timeout": "flag --edge.call_timeout",
		"edge.max_body": "env PENSTOCK_EDGE_MAX_BODY", "edge.hosts": "flag --edge.hosts", "demo": "flag --demo", "data_dir": "default",
		"token": "file " + name + ":12:8", "pepper": "file " + name + ":11:9", "workers": "file " + name + ":10:10", "ratio": "env PENSTOCK_RATIO", "delta": "env PENSTOCK_DELTA",
		"labels": "file " + name + ":7:9", "waits": "flag --waits", "networks": "file " + name + ":9:1", "bind": "default", "authority": "default",
	}
	if d := cmp.Diff(wantOrigins, origins(r)); d != "" {
		t.Error(d)
	}
}

func TestValuesThatAreSetAreTheDefaults(t *testing.T) {
	got := settings{DataDir: "/home/ada/.penstock"}
	if _, err := conf.Load(program(), &got); err != nil || got.DataDir != "/home/ada/.penstock" {
		t.Errorf("got %q, %v", got.DataDir, err)
	}
	p := program()
	p.Environ = []string{"PENSTOCK_DATA_DIR=/srv"}
	if _, err := conf.Load(p, &got); err != nil || got.DataDir != "/srv" {
		t.Errorf("got %q, %v", got.DataDir, err)
	}
}

func TestConfigFileFromTheEnvironment(t *testing.T) {
	p := program()
	p.Environ = []string{"PENSTOCK_CONFIG=" + file(t, "workers: 5")}
	var got settings
	if _, err := conf.Load(p, &got); err != nil || got.Workers != 5 {
		t.Errorf("got %d, %v", got.Workers, err)
	}
	p.Args = []string{"--config=" + file(t, "workers: 6")}
	if _, err := conf.Load(p, &got); err != nil || got.Workers != 6 {
		t.Errorf("the flag names another file: got %d, %v", got.Workers, err)
	}
	for name, content := range map[string]string{"empty": "", "comments": "# nothing\n", "document mark": "---\n"} {
		p.Args = []string{"--config", file(t, content)}
		if _, err := conf.Load(p, &settings{}); err != nil && name != "document mark" {
			t.Errorf("%s file: %v", name, err)
		}
	}
}

// Auth design SE-4: no secret in an error or an output.
func TestSecretsAreNeverRepeated(t *testing.T) {
	const canary = "hunter2"
	type secrets struct {
		Token  obs.Secret
		Pin    int    `secret:"true"`
		Pepper string `secret:"true" default:"hunter2"`
		Keys   []obs.Secret
		Named  map[string]obs.Secret
	}
	p := program("--token", canary, "--pepper", "x"+canary, "--pin=1"+canary, "--tokn="+canary, "--tokne", canary, "--print-config")
	p.Environ = []string{"PENSTOCK_PINN=" + canary, "PENSTOCK_PIN=" + canary}
	r, err := conf.Load(p, &secrets{})
	if err == nil {
		t.Fatal("accepted")
	}
	if strings.Contains(err.Error()+r.Output, canary) {
		t.Errorf("%v repeats a secret", err)
	}

	for _, args := range [][]string{
		{"--print-config", "--token", canary, "--pin", "4711", "--keys", canary, "--named", "a=" + canary},
		{"--help"},
	} {
		r, err = conf.Load(program(args...), &secrets{})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Values {
			r.Output += v.Text
		}
		if strings.Contains(r.Output, canary) || strings.Contains(r.Output, "4711") {
			t.Errorf("%v prints a secret: %s", args, r.Output)
		}
	}
}

func TestFinish(t *testing.T) {
	for _, tc := range []struct {
		name        string
		args        []string
		code        int
		exit        bool
		out, errOut string
	}{
		{"start", nil, 0, false, "", ""},
		{"version", []string{"--version"}, 0, true, "dataplane 1.2.3\n", ""},
		{"version wins over mistakes", []string{"--zebra", "--version"}, 0, true, "dataplane 1.2.3\n", ""},
		{"mistake", []string{"--zebra"}, 2, true, "", "The settings of dataplane cannot be used:\n  unknown flag --zebra\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			r, err := conf.Load(program(tc.args...), &settings{})
			code, exit := r.Finish(&out, &errOut, err)
			if code != tc.code || exit != tc.exit || out.String() != tc.out || errOut.String() != tc.errOut {
				t.Errorf("got %d %t %q %q", code, exit, out.String(), errOut.String())
			}
		})
	}
	var out, errOut bytes.Buffer
	if code, exit := (conf.Result{}).Finish(&out, &errOut, errors.New("disk full")); code != 1 || !exit || !strings.Contains(errOut.String(), "disk full") {
		t.Errorf("other error: %d %t %q", code, exit, errOut.String())
	}
}

func TestStructsThatCannotBeDescribed(t *testing.T) {
	type inner struct{ B string }
	for name, s := range map[string]any{
		"port of a number": &struct {
			A int `port:"shift"`
		}{},
		"no pointer":           settings{},
		"nil pointer":          (*settings)(nil),
		"pointer to no struct": new(string),
		"unsupported type":     &struct{ F func() }{},
		"list of structs":      &struct{ L []inner }{},
		"name not snake case": &struct {
			A string `name:"a-b"`
		}{},
		"dotted name": &struct {
			A string `name:"a.b"`
		}{},
		"two of one name": &struct {
			A, B string `name:"a"`
		}{},
		"same variable": &struct {
			A inner  `name:"a"`
			X string `name:"a_b"`
		}{},
		"reserved":       &struct{ Help bool }{},
		"reserved kebab": &struct{ PrintConfig bool }{},
		"group and setting": &struct {
			A string `name:"a"`
			X inner  `name:"a"`
		}{},
	} {
		_, err := conf.Load(program(), s)
		if f := fault.From(err); f == nil || f.Kind != fault.Bug || f.Reason != conf.ReasonStruct {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := conf.Load(program(), &struct {
		N uint8 `default:"x"`
	}{}); err == nil {
		t.Error("a default that cannot be read is accepted")
	}
}

// TestFinishFields: what a server says of its own settings names each of them, with what is wrong.
func TestFinishFields(t *testing.T) {
	f := fault.New(fault.Invalid, "X_CONFIG_INVALID", "The settings of the server cannot be used.").
		At("mcp.url", "is no origin: set it to something like https://gw.example.com").At("data.dir", "is empty")
	var errOut bytes.Buffer
	code, exit := (conf.Result{}).Finish(io.Discard, &errOut, fmt.Errorf("start: %w", f))
	want := "The settings of the server cannot be used.\n  mcp.url is no origin: set it to something like https://gw.example.com\n  data.dir is empty\n"
	if code != 2 || !exit || errOut.String() != want {
		t.Errorf("code %d, got %q, want %q", code, errOut.String(), want)
	}
}
