// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResultPolicy: a result policy that is applied takes out what it matches and withholds what it blocks, in both eras, from the next
// call on; a shadow changes nothing; what does not compile is refused with its place (G-33, G-37).
func TestResultPolicy(t *testing.T) {
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
	modern := a.demo()
	legacy, err := modern.initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	check := func(step, policy, want string, failed bool) {
		t.Helper()
		if got := apply(policy); got.code != 0 {
			t.Fatalf("%s: apply: %s%s", step, got.stdout, got.stderr)
		}
		if got := a.cli("wait"); got.code != 0 {
			t.Fatalf("%s: wait: %s%s", step, got.stdout, got.stderr)
		}
		for era, c := range map[string]caller{"modern": modern, "legacy": legacy} {
			got, err := c.tool(t.Context(), "demo__echo", map[string]any{"message": "a secret word"})
			if err != nil || got.status != 200 || got.failed != failed || !strings.Contains(got.text, want) || strings.Contains(got.body, "secret") != strings.Contains(want, "secret") {
				t.Errorf("%s, %s: %v, %s", step, era, err, got.body)
			}
		}
	}
	const policy = "kind: ResultPolicy\nname: no-secrets\ntools: [demo__*]\n"
	check("shadow", policy+"mark: BLOCK\nmode: SHADOW\n", "a secret word", false)
	check("untrusted", policy+"mark: UNTRUSTED\n", "a secret word", false)
	check("redacted", policy+"mark: REDACT\nredact: [secret]\n", "a [redacted] word", false)
	if got := a.cli("get", "result-policies"); got.code != 0 || !strings.Contains(got.stdout, "no-secrets  REDACT  ENFORCE  demo__*") {
		t.Errorf("get: %s%s", got.stdout, got.stderr)
	}
	if got := a.cli("describe", "result-policy", "no-secrets"); got.code != 0 || !strings.Contains(got.stdout, "Takes out:") {
		t.Errorf("describe: %s%s", got.stdout, got.stderr)
	}
	check("by arguments", policy+"mark: REDACT\nredact: [secret]\nwhen: 'args.message == \"other\"'\n", "a secret word", false)
	check("blocked", policy+"mark: BLOCK\nreason: Ask SRE.\n", `The policy "no-secrets" withholds this result: Ask SRE.`, true)
	for text, place := range map[string]string{
		"mark: REDACT\nredact: ['ok', 'a[b']\n": "column 2",
		"mark: REDACT\nredact: ['a*']\n":        "may match an empty text",
		"mark: REDACT\n":                        "say what REDACT takes out",
		"mark: BLOCK\nredact: ['a']\n":          "it has no meaning without mark REDACT",
		"mark: BLOCK\nwhen: 'args.a ='\n":       "line 1, column 8",
	} {
		if got := apply("kind: ResultPolicy\nname: bad\n" + text); got.code == 0 || !strings.Contains(got.stderr, place) {
			t.Errorf("%q: %s%s", text, got.stdout, got.stderr)
		}
	}
	check("disabled", policy+"mark: BLOCK\ndisabled: true\n", "a secret word", false)
	if got := a.cli("delete", "result-policy", "no-secrets"); got.code != 0 {
		t.Errorf("delete: %s%s", got.stdout, got.stderr)
	}
}
