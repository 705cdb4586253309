// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strings"
	"testing"
)

// RFC 6750 §3, RFC 6749 §3.3: which scopes a challenge asks for; what is no scope goes nowhere.
func TestWantsScope(t *testing.T) {
	for _, tt := range []struct {
		challenge string
		wants     bool
		scope     string
	}{
		{`Bearer error="insufficient_scope", scope="repo admin:x"`, true, "repo admin:x"},
		{`Bearer scope="mcp:write", resource_metadata="https://x/y", error="insufficient_scope"`, true, "mcp:write"},
		{`Bearer error="insufficient_scope",SCOPE="a"`, true, "a"},
		{`Bearer error="insufficient_scope"`, true, ""},
		{`Bearer error="insufficient_scope", scope=""`, true, ""},
		{`Bearer error="insufficient_scope", scope=" a"`, true, ""},
		{`Bearer error="insufficient_scope", scope="a\"b"`, true, ""},
		{`Bearer error="insufficient_scope", scope="ä"`, true, ""},
		{`Bearer error="insufficient_scope", other_scope="a"`, true, ""},
		{`Bearer error="insufficient_scope", scope="` + strings.Repeat("a", 1024) + `"`, true, strings.Repeat("a", 1024)},
		{`Bearer error="insufficient_scope", scope="` + strings.Repeat("a", 1025) + `"`, true, ""},
		{`Bearer error="invalid_token", scope="repo"`, false, ""},
	} {
		if wants, scope := wantsScope([]byte(tt.challenge)); wants != tt.wants || scope != tt.scope {
			t.Errorf("%.80s: %t %q", tt.challenge, wants, scope)
		}
	}
}
