// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

const limitUsers = `
kind: User
name: ada@penstock.test
---
kind: User
name: bob@penstock.test
---
kind: User
name: carl@penstock.test
---
kind: Team
name: limited
members: [{user: ada@penstock.test}, {user: bob@penstock.test}]
`

// limitCase is one way to count together: two may pass, at whichever of the two nodes, and one comes back each hour.
type limitCase struct {
	per   string
	unit  string // tool_calls if empty
	tools string
	steps []limitStep
}

// limitStep is a request of somebody ("ada", "ada 2" with another token) to a node.
type limitStep struct {
	node      int
	who, tool string // no tool: tools/list
	ok        bool
}

func limitCases() []limitCase {
	const echo, other = "rec__echo", "other__echo"
	return []limitCase{
		{per: "GATEWAY", steps: []limitStep{
			{0, "ada", echo, true}, {1, "bob", other, true}, {0, "carl", echo, false}, {1, "ada", echo, false}, {0, "ada", "", true},
		}},
		{per: "CALLER", steps: []limitStep{
			{0, "ada", echo, true}, {1, "ada 2", other, true}, {0, "ada", echo, false}, {1, "ada 2", echo, false}, {1, "bob", echo, true},
		}},
		{per: "TEAM", steps: []limitStep{
			{0, "ada", echo, true},
			{1, "bob", echo, true},
			{0, "ada", echo, false},
			{1, "bob", echo, false},
			{0, "carl", echo, true},
			{0, "carl", echo, true},
			{0, "carl", echo, true},
		}},
		{per: "TOKEN", steps: []limitStep{
			{0, "ada", echo, true}, {1, "ada", echo, true}, {0, "ada", echo, false}, {1, "ada 2", echo, true},
		}},
		{per: "SERVER", steps: []limitStep{
			{0, "ada", echo, true}, {1, "bob", echo, true}, {0, "carl", echo, false}, {1, "carl", other, true},
		}},
		{per: "TOOL", tools: "[rec__*]", steps: []limitStep{
			{0, "ada", echo, true},
			{1, "bob", echo, true},
			{0, "carl", echo, false},
			{1, "carl", other, true},
			{1, "carl", other, true},
			{1, "carl", other, true},
		}},
		{per: "GATEWAY", unit: "requests", steps: []limitStep{{0, "ada", "", true}, {1, "bob", echo, true}, {0, "carl", "", false}, {1, "ada", echo, false}}},
		{per: "CALLER", unit: "requests", steps: []limitStep{{0, "ada", "", true}, {1, "ada", echo, true}, {0, "ada", "", false}, {1, "bob", "", true}}},
	}
}

func limitedGateway(name, limits string) string {
	return gatewayYAML(name, organization, "rec/echo", "other/echo") + "rate_limits:\n" + limits
}

// TestLimits is G-50 through the whole product: two nodes that count together in Redis.
func TestLimits(t *testing.T) {
	server := redistest.Start(t)
	env := testenv.Start(t, testenv.Config{Nodes: 2, TLS: true, Redis: server.URL()})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	install(t, env, "other", upstream.URL)
	env.Apply(t, limitUsers)
	for i, tc := range limitCases() {
		unit := tc.unit
		if unit == "" {
			unit = "tool_calls"
		}
		t.Run(tc.per+" "+unit, func(t *testing.T) {
			name := fmt.Sprintf("limited-%d", i)
			limits := fmt.Sprintf("- {per: %s, %s: 24, period: 86400s, burst: 2}\n", tc.per, unit)
			if tc.tools != "" {
				limits = strings.Replace(limits, "}", ", tools: "+tc.tools+"}", 1)
			}
			env.Apply(t, limitedGateway(name, limits))
			checkLimit(t, env, name, tc)
		})
	}
	t.Run("steady", func(t *testing.T) { checkSteady(t, env, server) })
	t.Run("metric", func(t *testing.T) {
		_, page := env.Nodes[0].Get(t, "/metrics")
		if !strings.Contains(page, `penstock_rate_limited_total{`) || !strings.Contains(page, `per="TEAM"`) {
			t.Error("the refusals are not counted")
		}
	})
	t.Run("without Redis", func(t *testing.T) { checkWithoutRedis(t, env, server) })
}

func checkLimit(t *testing.T, env *testenv.Env, name string, tc limitCase) {
	t.Helper()
	tokens := make(map[string]string)
	for _, who := range []string{"ada", "ada 2", "bob", "carl"} {
		person, _, _ := strings.Cut(who, " ")
		tokens[who] = env.Token(t, testenv.OfUser(person+"@penstock.test"), name).Text
	}
	env.WaitEnforced(t)
	for i, step := range tc.steps {
		c := client(env, env.Nodes[step.node], name, tokens[step.who])
		what := fmt.Sprintf("step %d, %s at node %d", i, step.who, step.node)
		switch {
		case tc.unit == "requests" && !step.ok:
			got := c.Modern(t, "tools/list", noArguments, nil)
			wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
			if got.Status != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 3600 ||
				!strings.Contains(got.Body, `"code":42901`) || !strings.Contains(got.Body, "is used up. Try again in") {
				t.Errorf("%s: got %d, Retry-After %q, %s", what, got.Status, got.Header.Get("Retry-After"), got.Body)
			}
		case step.tool == "":
			if got := c.Modern(t, "tools/list", noArguments, nil); got.Status != http.StatusOK {
				t.Errorf("%s: list: %d %s", what, got.Status, got.Body)
			}
		case step.ok:
			works(t, what, c.Call(t, step.tool, `{"message":"hello"}`), "hello")
		default:
			got := resultOf(t, c.Call(t, step.tool, `{"message":"hello"}`))
			e := got.Result.StructuredContent.Error
			if !got.Result.IsError || !strings.Contains(got.text(), "is used up. Try again in") || e.Type != "RATE_LIMITED" || !e.Retryable ||
				e.RetryAfterMS < 1000 || e.RetryAfterMS > 3_600_000 || e.RetryAfterSeconds*1000 != e.RetryAfterMS {
				t.Errorf("%s: got %+v", what, got)
			}
		}
	}
}

// checkSteady: calls under a limit that they do not reach ask Redis for few batches.
func checkSteady(t *testing.T, env *testenv.Env, server *redistest.Server) {
	t.Helper()
	env.Apply(t, limitedGateway("steady", "- {per: CALLER, tool_calls: 1000000, period: 3600s}\n"))
	caller := client(env, env.Nodes[0], "steady", env.Token(t, testenv.OfUser("ada@penstock.test"), "steady").Text)
	env.WaitEnforced(t)
	const calls = 400
	before := server.Commands(t, "eval", "evalsha")
	for range calls {
		works(t, "steady", caller.Call(t, "rec__echo", `{"message":"hello"}`), "hello")
	}
	asked := server.Commands(t, "eval", "evalsha") - before
	t.Logf("%d scripts for %d calls", asked, calls)
	if asked > calls/10 {
		t.Errorf("Redis ran %d scripts for %d calls", asked, calls)
	}
}

// checkWithoutRedis: OPEN goes on, CLOSED refuses, and both count together again when Redis is back.
func checkWithoutRedis(t *testing.T, env *testenv.Env, server *redistest.Server) {
	t.Helper()
	const limits = "- {per: CALLER, tool_calls: 24, period: 86400s, burst: 20, when_unavailable: %s}\n"
	env.Apply(t, limitedGateway("opens", fmt.Sprintf(limits, "OPEN")))
	env.Apply(t, limitedGateway("closes", fmt.Sprintf(limits, "CLOSED")))
	opens := client(env, env.Nodes[0], "opens", env.Token(t, testenv.OfUser("ada@penstock.test"), "opens").Text)
	closes := client(env, env.Nodes[0], "closes", env.Token(t, testenv.OfUser("ada@penstock.test"), "closes").Text)
	env.WaitEnforced(t)
	call := func(c *rawclient.Client) toolResult {
		t.Helper()
		return resultOf(t, c.Call(t, "rec__echo", `{"message":"hello"}`))
	}
	for _, c := range []*rawclient.Client{opens, closes} {
		if r := call(c); r.Result.IsError {
			t.Fatalf("with Redis: %+v", r)
		}
	}
	server.Stop()
	for range 3 {
		if r := call(closes); !r.Result.IsError || !strings.Contains(r.text(), "cannot be counted at the moment") {
			t.Errorf("CLOSED without Redis: %+v", r)
		}
		if r := call(opens); r.Result.IsError {
			t.Errorf("OPEN without Redis: %+v", r)
		}
	}
	refused := 0
	for range 30 {
		if call(opens).Result.IsError {
			refused++
		}
	}
	if refused < 10 {
		t.Errorf("OPEN without Redis refused %d of 34 calls: it counts no more", refused)
	}
	server.Restart()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 300 {
		if !call(closes).Result.IsError {
			return
		}
		<-tick.C
	}
	t.Error("CLOSED does not recover when Redis is back")
}
