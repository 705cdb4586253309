// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

const (
	trustDomain = "penstock.internal"
	// Ports of a second node, before the offset.
	secondMCP = 8090
	secondOps = 9090
)

// fleet is a control plane, an authserver and up to two nodes as separate processes with mutual TLS, each told its
// settings in another way: by file, by environment, by flags.
type fleet struct {
	t      *testing.T
	dir    string
	offset int
	ca     *tlsxtest.CA
	certs  map[string]tlsx.Files

	database, secrets string // URLs
}

// newFleet prepares a fleet on SQLite and starts nothing.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), offset: freeOffset(t), ca: tlsxtest.NewCA(t, trustDomain), certs: map[string]tlsx.Files{}}
	for name, role := range map[string]ident.Role{
		"controlplane": ident.RoleControlPlane, "authserver": ident.RoleAuthserver, "node-a": ident.RoleNode, "node-b": ident.RoleNode,
	} {
		f.certs[name] = f.ca.Issue(t, filepath.Join(f.dir, "tls", name), ident.Workload{Region: "eu", Role: role, Name: name})
	}
	f.database, f.secrets = "sqlite://"+f.path("controlplane.db"), "sqlite://"+f.path("authserver.db")
	return f
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

// ops is the origin of an ops port.
func (f *fleet) ops(port int) string { return "http://" + address(port+f.offset) }

// gateway is the URL of a gateway at a node.
func (f *fleet) gateway(port int, name string) string {
	return "http://" + address(port+f.offset) + "/v1/mcp/" + name
}

// startControl starts the control plane with a file.
func (f *fleet) startControl() *program { return f.startControlWith() }

// startControlWith is startControl with flags besides the file.
func (f *fleet) startControlWith(more ...string) *program {
	f.t.Helper()
	c := f.certs["controlplane"]
	text := fmt.Sprintf(`database: %q
bootstrap:
  token_file: %q
tls:
  cert: %q
  key: %q
  ca: %q
approvals:
  keyset: %q
  create_keyset: true
log:
  level: debug
`, f.database, f.path("admin.token"), c.Cert, c.Key, c.CA, f.path("approvals.keyset"))
	file := f.path("controlplane.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return start(f.t, options{env: []string{portOffset(f.offset)}}, "controlplane", append([]string{"--config", file}, more...)...)
}

// startAuth starts the authserver with environment variables.
func (f *fleet) startAuth() *program {
	f.t.Helper()
	c := f.certs["authserver"]
	return start(f.t, options{env: []string{
		portOffset(f.offset), "PENSTOCK_DATABASE=" + f.secrets, "PENSTOCK_VAULT_KEYSET=" + f.path("vault.keyset"),
		"PENSTOCK_VAULT_CREATE_KEYSET=true", "PENSTOCK_DATA_DIR=" + f.path("authserver"), "PENSTOCK_TLS_CERT=" + c.Cert, "PENSTOCK_TLS_KEY=" + c.Key, "PENSTOCK_TLS_CA=" + c.CA,
		"PENSTOCK_LOG_LEVEL=debug",
	}}, "authserver")
}

// startNode starts a node with flags: "node-a" on the default ports, "node-b" on the second ones.
func (f *fleet) startNode(name string, more ...string) *program {
	f.t.Helper()
	c := f.certs[name]
	args := []string{
		"--tls.cert", c.Cert, "--tls.key", c.Key, "--tls.ca", c.CA, "--data.dir", f.path(name),
		"--upstream.allow_loopback", "--log.level=debug",
	}
	if name == "node-b" {
		args = append(args, "--mcp.listen", address(secondMCP+f.offset), "--ops.listen", address(secondOps+f.offset))
	}
	return start(f.t, options{env: []string{portOffset(f.offset)}}, "dataplane", append(args, more...)...)
}

// startAll starts a control plane, an authserver and node-a and waits until they are ready.
func (f *fleet) startAll() (control, auth, node *program) {
	f.t.Helper()
	auth, control, node = f.startAuth(), f.startControl(), f.startNode("node-a")
	for _, port := range []int{9083, 9081, 9080} {
		ready(f.t, f.ops(port))
	}
	return control, auth, node
}

// cli runs the command line as the first administrator.
func (f *fleet) cli(env []string, args ...string) finished {
	f.t.Helper()
	return run(f.t, options{env: append(env, portOffset(f.offset), "PENSTOCK_TOKEN="+readFile(f.t, f.path("admin.token")))}, "penstock", args...)
}

// must runs the command line and returns what it printed.
func (f *fleet) must(args ...string) string {
	f.t.Helper()
	got := f.cli(nil, args...)
	if got.code != 0 {
		f.t.Fatalf("penstock %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// apply writes manifests into a file, applies them and waits until they are enforced.
func (f *fleet) apply(env []string, manifests string) {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if got := f.cli(env, "apply", "-f", file, "--discover", "--wait"); got.code != 0 {
		f.t.Fatalf("apply: exit code %d\n%s", got.code, got.stderr)
	}
}

// readFile returns the content of a file without white space around it.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
