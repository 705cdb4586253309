// SPDX-License-Identifier: Apache-2.0

package problem_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/problem"
)

// RS-3: the golden header, and what of it is left out.
func TestChallenge(t *testing.T) {
	tests := []struct {
		challenge problem.Challenge
		want      string
	}{
		{problem.Challenge{}, `Bearer`},
		{
			problem.Challenge{
				Metadata: "https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/eng", Scope: "mcp",
				Code: "invalid_token", Description: "Authentication required",
			},
			`Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/eng", scope="mcp", error="invalid_token", error_description="Authentication required"`,
		},
		{problem.Challenge{Metadata: "m", Scope: "mcp"}, `Bearer resource_metadata="m", scope="mcp"`},
		{problem.Challenge{Code: "invalid_request", Description: "a \"b\"\r\nX: y\\ é"}, `Bearer error="invalid_request", error_description="a 'b'  X: y   "`},
	}
	for _, tt := range tests {
		if got := tt.challenge.String(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

var wellFormed = regexp.MustCompile(`^Bearer( [a-z_]+="[\x20-\x21\x23-\x5b\x5d-\x7e]*"(, [a-z_]+="[\x20-\x21\x23-\x5b\x5d-\x7e]*")*)?$`)

// RS-8, N148: no text leaves its quotes, or the line.
func FuzzChallenge(f *testing.F) {
	f.Add("https://gw.example.com/x", "mcp", "invalid_token", "text")
	f.Add("\"", "\\", "\r\n", "\x00\x7f\xff")
	f.Add("", "", `", error="x`, "a\nb: c")
	f.Fuzz(func(t *testing.T, metadata, scope, code, description string) {
		got := problem.Challenge{Metadata: metadata, Scope: scope, Code: code, Description: description}.String()
		if !wellFormed.MatchString(got) {
			t.Fatalf("%q", got)
		}
		want := 0
		for _, value := range []string{metadata, scope, code, description} {
			if value != "" {
				want += 2
			}
		}
		if strings.Count(got, `"`) != want {
			t.Fatalf("%q", got)
		}
	})
}
