// SPDX-License-Identifier: Apache-2.0

package conf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/conf"
)

func TestPrintConfig(t *testing.T) {
	name := file(t, "token: hunter2\nlabels: {b: '2', a: 'x: y'}\n")
	p := program("--print-config", "--config", name, "--edge.hosts", "a,b", "--data-dir", "null")
	p.Environ = []string{"PENSTOCK_EDGE_CALL_TIMEOUT=90m", "PENSTOCK_PORT_OFFSET=100"}
	r, err := conf.Load(p, &settings{})
	if err != nil {
		t.Fatal(err)
	}
	want := `log_level: info # default
edge:
  listen: 127.0.0.1:8180 # default shifted by 100
  call_timeout: 1h30m # env PENSTOCK_EDGE_CALL_TIMEOUT
  max_body: 4MiB # default
  hosts: [a, b] # flag --edge.hosts
demo: false # default
data_dir: "null" # flag --data-dir
token: '[redacted]' # file FILE:1:8
pepper: "" # default
workers: 4 # default
ratio: 0.5 # default
delta: -3 # default
labels: {a: 'x: y', b: 2} # file FILE:2:9
waits: {} # default
networks: [] # default
bind: 127.0.0.1 # default
authority: http://127.0.0.1:8183/x # default shifted by 100
`
	if d := cmp.Diff(strings.ReplaceAll(want, "FILE", name), r.Output); d != "" {
		t.Error(d)
	}

	// What it prints can be read again, and means the same.
	again := strings.ReplaceAll(r.Output, "'[redacted]'", "hunter2")
	var first, second settings
	p.Args = p.Args[1:]
	if _, err := conf.Load(p, &first); err != nil {
		t.Fatal(err)
	}
	if _, err := conf.Load(program("--config", file(t, again)), &second); err != nil {
		t.Fatal(err)
	}
	if d := diff(first, second); d != "" {
		t.Error(d)
	}
}

func TestPrintConfigShowsWhatValidationRefuses(t *testing.T) {
	r, err := conf.Load(program("--print-config", "--edge-call-timeout", "0s"), &settings{})
	if err == nil || !strings.Contains(r.Output, "call_timeout: 0s # flag --edge-call-timeout\n") {
		t.Errorf("got %v and %q", err, r.Output)
	}
}

func TestHelp(t *testing.T) {
	r, err := conf.Load(program("--nonsense", "-h"), &settings{Token: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"dataplane 1.2.3\nServes MCP clients.\n\nUsage: dataplane [--name value ...]\n",
		"In the file, edge.listen is \"listen\"\nin the mapping \"edge\"; as a flag it may also be written --edge-listen.\n\n",
		"  --config FILE\n",
		"  --print-config\n",
		"  --edge.listen ADDRESS\n        Where MCP clients connect. Default 127.0.0.1:8080. (env PENSTOCK_EDGE_LISTEN)\n",
		"  --edge.call_timeout DURATION\n        How long a call may take. Default 60s. (env PENSTOCK_EDGE_CALL_TIMEOUT)\n",
		"  --edge.max_body SIZE\n        Set edge.max_body. Default 4MiB. (env PENSTOCK_EDGE_MAX_BODY)\n",
		"  --edge.hosts VALUE,...\n",
		"  --labels KEY=VALUE,...\n",
		"  --log_level debug|info|warn|error\n",
		"  --demo\n        Start with a demo. (env PENSTOCK_DEMO)\n",
		"  --token TEXT\n        The token. (env PENSTOCK_TOKEN)\n",
		"  --workers NUMBER\n",
		"PENSTOCK_PORT_OFFSET is added to every default port.\n",
	} {
		if !strings.Contains(r.Output, part) {
			t.Errorf("%q is missing", part)
		}
	}
	if t.Failed() {
		t.Log(r.Output)
	}
}
