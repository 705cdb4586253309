// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExplain: the node of a real deployment says what would become of a call, and it becomes of the call what it says (G-36).
func TestExplain(t *testing.T) {
	a := newAlone(t)
	p := a.start()
	defer p.stop()
	const gateways = `kind: Policy
name: no-secrets
tools: [demo__*]
when: 'args.message.contains("hidden-word")'
action: BLOCK
reason: Ask SRE.
---
kind: Policy
name: tried
when: caller.email != ""
action: BLOCK
mode: SHADOW
`
	if err := os.WriteFile(filepath.Join(a.home, "policies.yaml"), []byte(gateways), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"apply", "-f", "policies.yaml"}, {"wait"}} {
		if got := a.cli(args...); got.code != 0 {
			t.Fatalf("%v: %s%s", args, got.stdout, got.stderr)
		}
	}
	token := ""
	for _, line := range strings.Split(a.cli("get", "tokens").stdout, "\n") {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "demo") {
			token = fields[0]
		}
	}
	explain := func(args ...string) finished {
		return a.cli(append([]string{"explain", "--gateway", "demo", "--as", "token:" + token}, args...)...)
	}
	caller := a.demo()
	called := func(tool, message string) (refused bool) {
		t.Helper()
		got, err := caller.tool(t.Context(), tool, map[string]any{"message": message})
		if err != nil {
			t.Fatal(err)
		}
		return got.failed || got.status != 200 || strings.Contains(got.body, `"error"`)
	}
	for _, tc := range []struct {
		tool, message string
		code          int
		want          []string
	}{
		{"demo__echo", "plain", 0, []string{"ALLOWED", "Tool: demo/echo, at the gateway demo__echo", "Caller: user ", "token " + token, "  no-secrets", "  tried", "only counted (SHADOW)", "credential: none."}},
		{"demo__echo", "a hidden-word", 1, []string{`REFUSED POLICY_BLOCKED (policies): The policy "no-secrets" refuses this call: Ask SRE.`, "BLOCK", "decides"}},
		{"DEMO__ECHO", "plain", 1, []string{"REFUSED UNKNOWN_TOOL (tool): Unknown tool: DEMO__ECHO", "Did you mean: demo__echo"}},
	} {
		args, err := json.Marshal(map[string]string{"message": tc.message})
		if err != nil {
			t.Fatal(err)
		}
		got := explain("--tool", tc.tool, "--args", string(args))
		for _, want := range tc.want {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("%s %q: %q is missing in\n%s%s", tc.tool, tc.message, want, got.stdout, got.stderr)
			}
		}
		if got.code != tc.code || strings.Contains(got.stdout+got.stderr, "hidden-word") {
			t.Errorf("%s %q ends with %d:\n%s%s", tc.tool, tc.message, got.code, got.stdout, got.stderr)
		}
		if refused := called(tc.tool, tc.message); refused != (tc.code != 0) {
			t.Errorf("%s %q is refused: %t", tc.tool, tc.message, refused)
		}
	}
	var e struct {
		Verdict, Node, Tool string
		Revision            string
		Steps               []struct{ Step, Outcome string }
	}
	got := explain("--tool", "demo/echo", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil || got.code != 0 || e.Verdict != "VERDICT_ALLOWED" || e.Tool != "demo/echo" || e.Node == "" || len(e.Steps) < 7 {
		t.Errorf("as JSON: %v, %s%s", err, got.stdout, got.stderr)
	}
	if got := a.cli("explain", "--gateway", "demo", "--tool", "x", "--as", "nobody@example.com"); got.code != 3 || !strings.Contains(got.stderr, "nobody@example.com") {
		t.Errorf("somebody who is not there: %d %s", got.code, got.stderr)
	}
	if got := a.cli("explain", "--gateway", "none", "--tool", "x", "--as", "token:"+token); got.code != 3 {
		t.Errorf("a gateway that is not there: %d %s", got.code, got.stderr)
	}
	if got := explain("--tool", "demo__echo", "--args", "[1]"); got.code != 1 || !strings.Contains(got.stderr, "must be a JSON object") {
		t.Errorf("arguments that are none: %d %s", got.code, got.stderr)
	}
	if got := explain("--tool", "demo__echo", "--node", "none"); got.code != 1 || !strings.Contains(got.stderr, `The node "none" is not connected`) {
		t.Errorf("a node that is not there: %d %s", got.code, got.stderr)
	}
	if strings.Contains(p.stdout.String()+p.stderr.String(), "hidden-word") {
		t.Error("arguments stand in the log")
	}
}
