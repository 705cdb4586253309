// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestClients has npm's MCP clients, of both eras, list and call the tools of npm's MCP servers through gateways: results,
// errors, progress and cancellation as without a gateway, 64-bit numbers and unknown members unchanged. What each check is,
// the drivers in clients say.
func TestClients(t *testing.T) {
	t.Parallel()
	env := testenv.Start(t, testenv.Config{})
	files := t.TempDir()
	servers := map[string]string{
		"everything": streamableHTTP(startNPM(t, "everything", "http")),
		"fidelity":   streamableHTTP(startNPM(t, "fidelity", "http")),
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

	runClients(t, settings)
	for line := range strings.Lines(env.Log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("a server logged %s", line)
		}
	}
}

// runClients runs the drivers at each server one after the other, at different servers at the same time: the memory server loses
// entities when two clients write to it at once. Most of a driver's time is the start of its programs.
func runClients(t *testing.T, settings map[string]map[string]string) {
	t.Helper()
	var servers sync.WaitGroup
	for server := range settings {
		servers.Go(func() {
			for _, row := range clientMatrix() {
				if !row.httpOnly || server == "everything" || server == "fidelity" {
					t.Run(strings.Join(strings.Fields(row.driver+" "+row.era+" "+row.transport+" "+server), " "), func(t *testing.T) {
						one := map[string]string{"MCP_TRANSPORT": row.transport}
						maps.Copy(one, settings[server])
						drive(t, row.driver, row.era, one)
					})
				}
			}
		})
	}
	servers.Wait()
}

type clientRow struct {
	driver, era string // the era that the client asks for, where it can choose
	transport   string // http or sse
	httpOnly    bool   // asks only the HTTP servers: the way to a stdio server is the same from here on
}

func clientMatrix() []clientRow {
	return []clientRow{
		{"ts-v1.mjs", "", "http", false},
		{"ts-v1.mjs", "", "sse", true},
		{"ts-v2.mjs", "", "http", false},
		{"ts-v2.mjs", "", "sse", true},
		{"ts-v2.mjs", "auto", "http", true},
		{"ts-v2.mjs", "modern", "http", false},
		{"inspector.mjs", "", "http", false},
		{"inspector.mjs", "", "sse", true},
		{"inspector.mjs", "modern", "http", true},
		{"mcp-remote.mjs", "", "http", false},
		{"mcp-remote.mjs", "", "sse", true},
		{"resume.mjs", "", "http", true},
		{"raw.mjs", "", "http", false},
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

// publish registers a server without credential, installs it for the organisation and puts all it has on a gateway; all three
// have the same name.
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
name: %[1]s
visibility: {organization: {}}
authentication: {bearer_token: {}}
server_features:
- {server: %[1]s, pinned: {connection: %[1]s}, prompts: true, resources: true, instructions: true}
tools:
%[2]s
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
