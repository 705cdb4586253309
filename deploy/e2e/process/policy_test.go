// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicy: a policy that is applied refuses the calls that it matches, in both eras, and no others; a shadow is only counted; what
// does not compile is refused with its place in the file (gateway.md section 5).
func TestPolicy(t *testing.T) {
	a := newAlone(t)
	p := a.start()
	defer p.stop()
	apply := func(text string) finished {
		t.Helper()
		if err := os.WriteFile(filepath.Join(a.home, "policy.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return a.cli("apply", "-f", "policy.yaml")
	}
	enforced := func(text string) {
		t.Helper()
		if got := apply(text); got.code != 0 {
			t.Fatalf("apply: %s%s", got.stdout, got.stderr)
		}
		if got := a.cli("wait"); got.code != 0 {
			t.Fatalf("wait: %s%s", got.stdout, got.stderr)
		}
	}
	modernCaller := a.demo()
	legacyCaller, err := modernCaller.initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	call := func(c caller, message string) (refused bool) {
		t.Helper()
		got, err := c.tool(t.Context(), "demo__echo", map[string]any{"message": message})
		if err != nil || got.status != 200 {
			t.Fatalf("status %d, %v: %s", got.status, err, got.body)
		}
		if got.failed && (!strings.Contains(got.text, `The policy "no-secrets" refuses this call: Ask SRE.`) || strings.Contains(got.body, message)) {
			t.Errorf("refused with %s", got.body)
		}
		return got.failed
	}
	check := func(step string, secret, plain bool) {
		t.Helper()
		for era, c := range map[string]caller{"modern": modernCaller, "legacy": legacyCaller} {
			if got := call(c, "my-secret"); got != secret {
				t.Errorf("%s, %s: the call with a secret is refused: %t", step, era, got)
			}
			if got := call(c, "plain"); got != plain {
				t.Errorf("%s, %s: the plain call is refused: %t", step, era, got)
			}
		}
	}
	const policy = "kind: Policy\nname: no-secrets\ntools: [demo__*]\nwhen: 'args.message.contains(\"secret\")'\naction: BLOCK\nreason: Ask SRE.\n"
	enforced(policy + "mode: SHADOW\n")
	check("shadow", false, false)
	enforced(policy)
	check("enforced", true, false)
	if got := a.cli("get", "policies"); got.code != 0 || !strings.Contains(got.stdout, "no-secrets  BLOCK   ENFORCE  demo__*") {
		t.Errorf("get: %s%s", got.stdout, got.stderr)
	}
	cases := "cases:\n- {name: secret, gateway: demo, tool: demo/echo, args: {message: a secret}, expect: {action: BLOCK, policy: no-secrets}}\n" +
		"- {name: plain, gateway: demo, tool: demo/echo, args: {message: plain}, expect: {action: ALLOW}}\n"
	if err := os.WriteFile(filepath.Join(a.home, "a.policytest.yaml"), []byte(cases), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := a.cli("policy", "test", "a.policytest.yaml"); got.code != 0 || !strings.Contains(got.stdout, "2 cases are as expected") {
		t.Errorf("policy test: %s%s", got.stdout, got.stderr)
	}
	if got := apply("kind: Policy\nname: bad\nwhen: 'args.a ='\naction: BLOCK\n"); got.code == 0 || !strings.Contains(got.stderr, "line 1, column 8") {
		t.Errorf("a condition that does not compile: %s%s", got.stdout, got.stderr)
	}
	enforced(policy + "disabled: true\n")
	check("disabled", false, false)
	if got := a.cli("delete", "policy", "no-secrets"); got.code != 0 {
		t.Errorf("delete: %s%s", got.stdout, got.stderr)
	}
}
