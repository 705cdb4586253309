// SPDX-License-Identifier: Apache-2.0

package process

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

// servers are the four programs that share the rules of settings.
func servers() []string {
	return []string{"controlplane", "dataplane", "authserver", "penstock-standalone"}
}

// TestSettings: --help, --version, --print-config and mistakes, on every server (architecture.md section 2).
func TestSettings(t *testing.T) {
	for _, name := range servers() {
		t.Run(name, func(t *testing.T) {
			if got := run(t, options{}, name, "--help"); got.code != 0 || !strings.Contains(got.stdout, "--log.level") || !strings.Contains(got.stdout, "PENSTOCK_LOG_LEVEL") {
				t.Errorf("--help: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
			if got := run(t, options{}, name, "--version"); got.code != 0 || got.stdout != name+" "+testVersion+"\n" {
				t.Errorf("--version: exit code %d, %q", got.code, got.stdout)
			}
			mistakes := []struct {
				name string
				env  []string
				file string
				args []string
				want string
			}{
				{"flag", nil, "", []string{"--ops.lisen", "127.0.0.1:1"}, "unknown flag --ops.lisen"},
				{"variable", []string{"PENSTOCK_LOG_LEVLE=debug"}, "", nil, "did you mean PENSTOCK_LOG_LEVEL?"},
				{"key", nil, "log: {levle: debug}\n", nil, `did you mean "log.level"?`},
				{"value", []string{"PENSTOCK_LOG_LEVEL=loud"}, "", nil, "log.level"},
				{"offset", []string{"PENSTOCK_PORT_OFFSET=many"}, "", nil, "PENSTOCK_PORT_OFFSET"},
			}
			for _, m := range mistakes {
				args := m.args
				if m.file != "" {
					file := filepath.Join(t.TempDir(), "settings.yaml")
					if err := os.WriteFile(file, []byte(m.file), 0o600); err != nil {
						t.Fatal(err)
					}
					args = append(args, "--config", file)
				}
				if got := run(t, options{env: m.env}, name, args...); got.code != 2 || !strings.Contains(got.stderr, m.want) || got.stdout != "" {
					t.Errorf("%s: exit code %d, %q; want 2 and %q", m.name, got.code, got.stderr, m.want)
				}
			}
		})
	}
}

// TestPrintConfig: the four layers in rising precedence, each value with its origin, secrets redacted.
func TestPrintConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(file, []byte("database: postgres://ada:hunter2@db/penstock\nlog: {level: warn, format: text}\nadmin: {listen: 127.0.0.1:1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, options{env: []string{"PENSTOCK_LOG_LEVEL=error", "PENSTOCK_LOG_FORMAT=json", "PENSTOCK_PORT_OFFSET=7", "PENSTOCK_NODES_LISTEN="}},
		"controlplane", "--config", file, "--log.format", "text", "--tls.cert=c", "--tls.key=k", "--tls.ca=a", "--print-config")
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	if strings.Contains(got.stdout, "hunter2") {
		t.Error("the output holds the password")
	}
	for _, want := range []string{
		`database: '[redacted]' # file ` + file, // and line and column
		"level: error # env PENSTOCK_LOG_LEVEL", "format: text # flag --log.format", "listen: 127.0.0.1:1 # file",
		"listen: 127.0.0.1:8089 # default shifted by 7",
	} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in:\n%s", want, got.stdout)
		}
	}
	var settings map[string]any
	if err := yaml.Unmarshal([]byte(got.stdout), &settings); err != nil {
		t.Errorf("the output is no YAML: %v", err)
	}
}

// TestPortInUse: the error names the port and the setting, of each port and each program; nothing is left running.
func TestPortInUse(t *testing.T) {
	f := newFleet(t)
	certs := func(name string) []string {
		c := f.certs[name]
		return []string{"--tls.cert", c.Cert, "--tls.key", c.Key, "--tls.ca", c.CA}
	}
	programs := map[string][]string{
		"penstock-standalone": {"--demo", "--data_dir", f.path("standalone")},
		"controlplane":        append(certs("controlplane"), "--database", f.database),
		"dataplane":           append(certs("node-a"), "--data.dir", f.path("node-a")),
		"authserver":          append(certs("authserver"), "--database", f.secrets, "--vault.keyset", f.path("vault.keyset"), "--vault.create_keyset", "--data.dir", f.path("authserver")),
	}
	tests := []struct {
		program, setting string
		port             int
	}{
		{"penstock-standalone", "mcp.listen", 8080},
		{"penstock-standalone", "admin.listen", 8081},
		{"penstock-standalone", "auth.listen", 8083},
		{"penstock-standalone", "ops.dataplane", 9080},
		{"penstock-standalone", "ops.controlplane", 9081},
		{"penstock-standalone", "ops.authserver", 9083},
		{"controlplane", "admin.listen", 8081},
		{"controlplane", "nodes.listen", 8082},
		{"controlplane", "ops.listen", 9081},
		{"dataplane", "mcp.listen", 8080},
		{"dataplane", "ops.listen", 9080},
		{"authserver", "public.listen", 8083},
		{"authserver", "credential.listen", 8085},
		{"authserver", "ops.listen", 9083},
	}
	for _, tt := range tests {
		t.Run(tt.program+" "+tt.setting, func(t *testing.T) {
			taken := address(tt.port + f.offset)
			l, err := net.Listen("tcp", taken)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }() // it was only in the way
			got := run(t, options{env: []string{portOffset(f.offset)}}, tt.program, programs[tt.program]...)
			_, port, err := net.SplitHostPort(taken)
			if err != nil {
				t.Fatal(err)
			}
			if got.code != 1 || !strings.Contains(got.stderr, "Port "+port+" ") || !strings.Contains(got.stderr, "set "+tt.setting+" to") {
				t.Errorf("exit code %d, %q; want 1, the port %s and the setting %s", got.code, got.stderr, port, tt.setting)
			}
		})
	}
}

// TestInterruptedStart: Ctrl-C before everything is up is a clean stop too, and the next start finds nothing broken.
func TestInterruptedStart(t *testing.T) {
	for _, file := range []string{"lock", "vault.keyset", "controlplane.db", "approvals.keyset", "admin.token", "endpoints.json", "demo.token", "demo.user"} {
		t.Run("when "+file+" is there", func(t *testing.T) {
			a := newAlone(t)
			p := start(t, a.options(), "penstock-standalone", "--demo")
			eventually(t, startTimeout, func() error {
				_, err := os.Stat(filepath.Join(a.data, file))
				return err
			})
			p.signal(syscall.SIGINT)
			if code := p.wait(); code != 0 || p.stderr.String() != "" {
				t.Errorf("exit code %d, want 0 and no word: %s", code, p.stderr)
			}
			p = a.start()
			if err := a.demo().echo(t.Context(), "demo__echo"); err != nil {
				t.Error(err)
			}
			p.stop()
		})
	}
}
