// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// resultPolicies are what results.mjs meets.
const resultPolicies = `
kind: ResultPolicy
name: no-keys
servers: [ev]
mark: REDACT
redact: ['sk-[a-z0-9]+']
---
kind: ResultPolicy
name: no-quiet
tools: [ev__echo]
when: 'args.message.startsWith("loud")'
mark: REDACT
redact: [quiet]
---
kind: ResultPolicy
name: no-weather
tools: ["ev__get-structured-*"]
mark: REDACT
redact: ['(?i)\b(sunny|cloudy|clear|(light |heavy )?(rain|snow|drizzle)|rain( / drizzle)?)\b[^"]*']
---
kind: ResultPolicy
name: no-links
tools: [ev__get-resource-links]
mark: REDACT
redact: ['created at .*']
---
kind: ResultPolicy
name: no-env
tools: [ev__get-env]
mark: BLOCK
reason: Ask SRE.
---
kind: ResultPolicy
name: doubtful
tools: [ev__get-tiny-image]
mark: UNTRUSTED
---
kind: ResultPolicy
name: tried
tools: [ev__get-sum]
mark: BLOCK
mode: SHADOW
`

// TestResultPolicies is G-33 with npm's server-everything and npm's clients of both eras: what is redacted, blocked, marked and only
// counted, also of a resource whose link a tool gave; and nothing of what was taken out is in a log.
func TestResultPolicies(t *testing.T) {
	t.Parallel()
	env := testenv.Start(t, testenv.Config{})
	publish(t, env, "ev", streamableHTTP(startNPM(t, "everything", "http")))
	env.Apply(t, resultPolicies)
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "ev").Text
	env.WaitEnforced(t)
	for _, era := range []string{"v1", "legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			drive(t, "results.mjs", era, map[string]string{"MCP_URL": env.Nodes[0].Gateway("ev"), "MCP_TOKEN": token, "MCP_TOOL_PREFIX": "ev__"})
		})
	}
	status, metrics := env.Nodes[0].Get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d", status)
	}
	counted := func(policy, outcome string) bool {
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "penstock_policy_decisions_total{") && strings.Contains(line, `policy="`+policy+`"`) && strings.Contains(line, `outcome="`+outcome+`"`) {
				return true
			}
		}
		return false
	}
	for policy, outcome := range map[string]string{
		"no-keys": "redact", "no-quiet": "redact", "no-env": "block", "doubtful": "untrusted", "tried": "would_block", "": "marked_untrusted",
	} {
		if !counted(policy, outcome) {
			t.Errorf("%q is not counted as %s", policy, outcome)
		}
	}
	for _, secret := range []string{"sk-abc123", "quiet words"} {
		if strings.Contains(env.Log.String(), secret) {
			t.Errorf("a log holds %q", secret)
		}
	}
}
