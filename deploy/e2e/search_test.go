// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
)

// TestLoadToolsWhenNeeded is G-20 to G-24 with npm's clients of both eras, one after the other: exactly two tools, search, run and
// result, and the notification each way when the setting is switched under an open stream.
func TestLoadToolsWhenNeeded(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	token := func() string {
		gateway(t, env, "searched", organization, "rec/echo", "rec/fail")
		defer env.WaitEnforced(t)
		return env.Token(t, testenv.OfUser(testenv.AdminEmail), "searched").Text
	}()
	switched := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		on := map[string]string{"/on": "true", "/off": "false"}[r.URL.Path]
		env.Apply(t, gatewayYAML("searched", organization, "rec/echo", "rec/fail")+"load_tools_when_needed: "+on+"\n")
		env.WaitEnforced(t)
	}))
	defer switched.Close()
	for _, era := range []string{"v1", "legacy", "modern"} {
		t.Run(era, func(t *testing.T) {
			upstream.Forget()
			drive(t, "search.mjs", era, map[string]string{
				"MCP_URL": env.Nodes[0].Gateway("searched"), "MCP_TOKEN": token, "MCP_TOOL_PREFIX": "rec__", "MCP_SWITCH": switched.URL,
			})
			if n := len(upstream.Calls()); n != 2 {
				t.Errorf("the server got %d calls, want one through run_tool and one by name", n)
			}
		})
	}
}
