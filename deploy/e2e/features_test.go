// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestFeatures has npm's MCP clients use everything but tools of npm's server-everything through gateways: prompts,
// resources, completion, logging, subscriptions, and the questions that a server asks while a tool runs. The server is
// reached over each transport it has, and clients come over both that gateways offer (M-103).
func TestFeatures(t *testing.T) {
	t.Parallel()
	env := testenv.Start(t, testenv.Config{})
	upstreams := map[string]string{
		"http":  streamableHTTP(startNPM(t, "everything", "http")),
		"sse":   fmt.Sprintf("sse: {url: %q}", startNPM(t, "everything", "sse")),
		"stdio": stdio(t, "everything"),
	}
	settings := make(map[string]map[string]string)
	for name, transport := range upstreams {
		publish(t, env, name, transport)
		settings[name] = map[string]string{
			"MCP_URL": env.Nodes[0].Gateway(name), "MCP_TOOL_PREFIX": name + "__", "MCP_FEATURES": "1",
			"MCP_TOKEN": env.Token(t, testenv.OfUser(testenv.AdminEmail), name).Text,
		}
	}
	env.WaitEnforced(t)

	var running sync.WaitGroup
	for upstream := range upstreams {
		running.Go(func() {
			for _, row := range featureMatrix() {
				if row.everywhere || upstream == "http" {
					t.Run(strings.Join(strings.Fields(row.driver+" "+row.era+" "+row.transport), " ")+" to "+upstream, func(t *testing.T) {
						s := map[string]string{"MCP_TRANSPORT": row.transport}
						maps.Copy(s, settings[upstream])
						drive(t, row.driver, row.era, s)
					})
				}
			}
		})
	}
	running.Wait()
	for line := range strings.Lines(env.Log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("a server logged %s", line)
		}
	}
}

type featureRow struct {
	driver, era, transport string
	everywhere             bool // asks all upstreams: the eras and transports of clients differ, the programs do not
}

func featureMatrix() []featureRow {
	return []featureRow{
		{"ts-v1.mjs", "", "http", true},
		{"ts-v1.mjs", "", "sse", true},
		{"ts-v2.mjs", "", "http", false},
		{"ts-v2.mjs", "", "sse", false},
		{"ts-v2.mjs", "modern", "http", true},
		{"inspector.mjs", "", "http", false},
		{"inspector.mjs", "", "sse", false},
		{"mcp-remote.mjs", "", "http", false},
		{"mcp-remote.mjs", "", "sse", false},
	}
}
