// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUntrustedContext: once a session has seen an untrusted result, it is refused what asks for a trusted context, and a new one is not;
// a client without a session is, for half an hour after a node that is alone has started: nobody knows what it saw before (G-33).
func TestUntrustedContext(t *testing.T) {
	a := newAlone(t)
	p := a.start()
	defer p.stop()
	const policies = "kind: ResultPolicy\nname: web\ntools: [demo__*]\nwhen: 'args.message == \"web\"'\nmark: UNTRUSTED\n---\n" +
		"kind: Policy\nname: clean\ntools: [demo__*]\nwhen: 'args.message == \"pay\"'\naction: BLOCK_IF_UNTRUSTED\n"
	if err := os.WriteFile(filepath.Join(a.home, "policies.yaml"), []byte(policies), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"apply", "-f", "policies.yaml"}, {"wait"}} {
		if got := a.cli(command...); got.code != 0 {
			t.Fatalf("%s: %s%s", command, got.stdout, got.stderr)
		}
	}
	modern := a.demo()
	open := func() caller {
		t.Helper()
		session, err := modern.initialize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
	wants := func(step string, c caller, message string, refused bool) {
		t.Helper()
		got, err := c.tool(t.Context(), "demo__echo", map[string]any{"message": message})
		if err != nil || got.status != 200 {
			t.Fatalf("status %d, %v: %s", got.status, err, got.body)
		}
		if got.failed != refused || refused && !strings.Contains(got.text, `The policy "clean" refuses this call.`) {
			t.Errorf("%s: %s", step, got.body)
		}
	}
	first, second := open(), open()
	wants("clean", first, "pay", false)
	wants("reads what is not trusted", first, "web", false)
	wants("after it", first, "pay", true)
	wants("what no policy concerns", first, "plain", false)
	wants("another session", second, "pay", false)
	wants("a session since", open(), "pay", false)
	wants("without a session, soon after the start", modern, "pay", true)
	wants("without a session, what no policy concerns", modern, "plain", false)
}
