// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestClients has npm's MCP clients, of both eras, list and call the tools of npm's MCP servers through gateways: results,
// errors, progress and cancellation as without a gateway, 64-bit numbers and unknown members unchanged. What each check is,
// the drivers in clients say.
func TestClients(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	files := t.TempDir()
	servers := map[string]string{
		"everything": streamableHTTP(startNPM(t, "everything")),
		"fidelity":   streamableHTTP(startNPM(t, "fidelity")),
		"filesystem": stdio(t, "filesystem", files),
		"memory":     stdio(t, "memory"),
	}
	settings := make(map[string]map[string]string) // of the drivers, by server
	for name, transport := range servers {
		publish(t, env, name, transport)
		var extra []string
		if name == "filesystem" {
			extra = []string{files}
		}
		settings[name] = map[string]string{
			"MCP_URL": env.Nodes[0].Gateway(name), "MCP_PROFILE": name, "MCP_TOOL_PREFIX": name + "__",
			"MCP_REFERENCE": reference(t, name, extra...), "MCP_FILES_ROOT": files,
			"MCP_TOKEN": env.Token(t, testenv.OfUser(testenv.AdminEmail), name).Text,
		}
	}
	env.WaitEnforced(t)

	t.Run("drivers", func(t *testing.T) {
		for _, row := range clientMatrix() {
			for _, server := range row.servers {
				name := strings.TrimSpace(fmt.Sprintf("%s %s %s", row.driver, row.era, server))
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					drive(t, row.driver, row.era, settings[server])
				})
			}
		}
	})
	if strings.Contains(env.Log.String(), `"level":"ERROR"`) {
		t.Errorf("a server logged errors; the log ends with\n%s", env.Log.Tail(20))
	}
}

type clientRow struct {
	driver, era string // the era that the client asks for, where it can choose
	servers     []string
}

func clientMatrix() []clientRow {
	all := []string{"everything", "filesystem", "memory", "fidelity"}
	http := []string{"everything", "fidelity"}
	return []clientRow{
		{"ts-v1.mjs", "", all},
		{"ts-v2.mjs", "", all},
		{"ts-v2.mjs", "auto", http},
		{"ts-v2.mjs", "modern", all},
		{"inspector.mjs", "", all},
		{"inspector.mjs", "modern", http},
		{"mcp-remote.mjs", "", all},
		{"raw.mjs", "", all},
	}
}

// drive runs a driver and reports each check that failed.
func drive(t *testing.T, driver, era string, settings map[string]string) {
	t.Helper()
	env := map[string]string{}
	for name, value := range settings {
		env[name] = value
	}
	if era != "" {
		env["MCP_ERA"] = era
	}
	checks := 0
	out := node(t, nil, env, []int{1}, driver)
	for line := range strings.Lines(out) {
		var check struct {
			Check, Detail string
			OK            bool
		}
		if err := json.Unmarshal([]byte(line), &check); err != nil {
			t.Errorf("the driver printed %q: %v", line, err)
			continue
		}
		checks++
		if !check.OK {
			t.Errorf("%s: %s", check.Check, check.Detail)
		} else {
			t.Logf("%s: ok %s", check.Check, check.Detail)
		}
	}
	if checks == 0 {
		t.Error("no check ran")
	}
}

func streamableHTTP(url string) string { return fmt.Sprintf("streamable_http: {url: %q}", url) }

// stdio is the transport of a server that the node starts.
func stdio(t *testing.T, name string, extra ...string) string {
	t.Helper()
	s := readNPM(t, name, "stdio", "", t.TempDir())
	args, err := json.Marshal(append(s.Args, extra...))
	if err != nil {
		t.Fatal(err)
	}
	if s.Env == nil {
		s.Env = map[string]string{}
	}
	env, err := json.Marshal(s.Env)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("stdio: {command: %q, args: %s, env: %s}", s.Command, args, env)
}

// publish registers a server without credential, installs it for the organisation and puts all of its tools on a gateway; all
// three have the same name.
func publish(t *testing.T, env *testenv.Env, name, transport string) {
	t.Helper()
	env.Apply(t, fmt.Sprintf(`
kind: Server
name: %[1]s
%[2]s
visibility: {organization: {}}
---
kind: Connection
name: %[1]s
server: %[1]s
owner: {organization: {}}
`, name, transport))
	tools := make([]string, 0, 16)
	for _, tool := range env.Discover(t, name, "").GetTools() {
		tools = append(tools, fmt.Sprintf("- {tool: %s, pinned: {connection: %s}}", tool.GetName(), name))
	}
	env.Apply(t, fmt.Sprintf(`
kind: Gateway
name: %s
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
%s
`, name, strings.Join(tools, "\n")))
}

// reference writes what a server lists to a client that asks it directly.
func reference(t *testing.T, server string, extra ...string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), server+".json")
	out := node(t, nil, nil, nil, append([]string{"reference.mjs", server}, extra...)...)
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
