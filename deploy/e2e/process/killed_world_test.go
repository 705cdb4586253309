// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

// pair is two nodes as processes on one Redis, with a control plane on PostgreSQL. The tool echo is held on two gateways: by "self" for
// the caller, by "others" for Bob. On "track" what the message "web" reads is not trusted, and "pay" asks for a context that is.
type pair struct {
	*fleet

	redis      *redistest.Server
	server     *recorder.Server
	first      *program // node-a, which is killed
	ada, carol string   // tokens
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{fleet: newFleet(t), redis: redistest.Start(t), server: recorder.Start(t)}
	p.database = startPostgres(t)
	p.secrets = p.database
	p.startAuth()
	p.startControl()
	p.startFirst()
	p.startNode("node-b", p.shared()...)
	for _, port := range []int{9083, 9081, 9080, secondOps} {
		ready(t, p.ops(port))
	}
	manifests := fmt.Sprintf(`
kind: User
name: ada@penstock.test
---
kind: User
name: bob@penstock.test
---
kind: User
name: carol@penstock.test
---
kind: Server
name: rec
streamable_http: {url: %q}
visibility: {organization: {}}
---
kind: Connection
name: rec
server: rec
owner: {organization: {}}
---
kind: Policy
name: confirm
gateways: [self]
tools: [rec__echo]
action: REQUIRE_APPROVAL
approvers: {caller: {}}
---
kind: Policy
name: four-eyes
gateways: [others]
tools: [rec__echo]
action: REQUIRE_APPROVAL
approvers: {users: [bob@penstock.test]}
---
kind: Policy
name: clean
gateways: [track]
when: 'args.message == "pay"'
action: BLOCK_IF_UNTRUSTED
---
kind: ResultPolicy
name: web
gateways: [track]
when: 'args.message == "web"'
mark: UNTRUSTED
`, p.server.URL)
	for _, gateway := range []string{"self", "others", "track"} {
		manifests += fmt.Sprintf(`---
kind: Gateway
name: %s
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: rec/echo, pinned: {connection: rec}}
`, gateway)
	}
	p.apply(nil, manifests)
	token := func(person string) string {
		return p.must("token", "create", "--user", person, "--gateway", "self", "--gateway", "others", "--gateway", "track")
	}
	p.ada, p.carol = token("ada@penstock.test"), token("carol@penstock.test")
	p.follow("node-a", "node-b")
	return p
}

// shared is what both nodes are told.
func (p *pair) shared() []string {
	return []string{
		"--redis.url", string(p.redis.URL()), "--forward.listen", "127.0.0.1:0", "--seal_keyset", "ZTJlLXRlc3Qtc2VhbC1rZXlzZXQtb2YtMzItYnl0ZXM=",
	}
}

func (p *pair) startFirst() {
	p.t.Helper()
	p.first = p.startNode("node-a", p.shared()...)
	ready(p.t, p.ops(9080))
}

// follow waits until these nodes, and no others, follow the control plane: before that a node serves what it has on disk.
func (p *pair) follow(names ...string) {
	p.t.Helper()
	eventually(p.t, startTimeout, func() error {
		if got := connected(p.t, p.fleet); !slices.Equal(got, names) {
			return fmt.Errorf("connected nodes: %q", got)
		}
		return nil
	})
	p.must("wait")
}

// at is a client of a gateway at node-a, and the same one at node-b.
func (p *pair) at(gateway, token string) (a, b caller) {
	a = caller{url: p.gateway(8080, gateway), token: token}
	b = a
	b.url = p.gateway(secondMCP, gateway)
	return a, b
}

// pending returns the identifier of the one approval that waits.
func (p *pair) pending() string {
	p.t.Helper()
	var list []struct{ ID string }
	if text := p.must("approvals", "-o", "json"); json.Unmarshal([]byte(text), &list) != nil || len(list) != 1 {
		p.t.Fatalf("approvals: %s", text)
	}
	return list[0].ID
}

// ran wants the server to have echoed these messages since the last time, none else and none twice.
func (p *pair) ran(t *testing.T, messages ...string) {
	t.Helper()
	got := []string{}
	for _, r := range p.server.Calls() {
		var m struct {
			Params struct{ Arguments json.RawMessage }
		}
		if err := json.Unmarshal(r.Body, &m); err != nil {
			t.Error(err)
		}
		got = append(got, string(m.Params.Arguments))
	}
	p.server.Forget()
	want := []string{}
	for _, m := range messages {
		want = append(want, fmt.Sprintf(`{"message":%q}`, m))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the server ran %s, want %s", got, want)
	}
}

// pass makes everything that is known of contexts older: nobody knows what a client without a session saw in the half hour before a Redis
// was new.
func (p *pair) pass(by time.Duration) {
	p.t.Helper()
	ctx, redis := p.t.Context(), p.redis.Client(p.t)
	for _, key := range redis.Keys(ctx, "pst:{ctx:*").Val() {
		for name, value := range redis.HGetAll(ctx, key).Val() {
			if ms, err := strconv.ParseInt(value, 10, 64); err == nil && (name == "at" || name == "used") {
				redis.HSet(ctx, key, name, ms-by.Milliseconds())
			}
		}
	}
}

// question is what a node asks the client of a session.
type question struct{ id, text string }

// running is a call in a session, which asks the person who calls.
type running struct {
	asked <-chan question
	done  <-chan answer // status 0 if the connection broke
}

// starts calls the tool echo in a session.
func (p *pair) starts(t *testing.T, c caller, message string) running {
	asked, done := make(chan question, 8), make(chan answer, 1)
	go func() {
		got, err := c.watch(t.Context(), "rec__echo", map[string]any{"message": message}, func(line string) {
			if id := questionID.FindStringSubmatch(line); id != nil {
				asked <- question{id[1], line}
			}
		})
		if err != nil {
			got = answer{failed: true, body: err.Error()}
		}
		done <- got
	}()
	return running{asked, done}
}

var questionID = regexp.MustCompile(`"id":("[^"]*"|\d+)[^{]*"method":"elicitation/create"`)

// awaits returns the question of a running call.
func (r running) awaits(t *testing.T) question {
	t.Helper()
	select {
	case q := <-r.asked:
		return q
	case got := <-r.done:
		t.Fatalf("it is answered without a question: %d %s", got.status, got.body)
	case <-time.After(startTimeout):
		t.Fatal("nobody is asked")
	}
	return question{}
}

// ends returns the answer to a running call.
func (r running) ends(t *testing.T) answer {
	t.Helper()
	select {
	case got := <-r.done:
		return got
	case <-time.After(startTimeout):
		t.Fatal("it is not answered")
	}
	return answer{}
}

// accepts answers a question in a session.
func (c caller) accepts(t *testing.T, q question) {
	t.Helper()
	header := c.header()
	header.Set("MCP-Protocol-Version", legacy)
	header.Set("Mcp-Session-Id", c.session)
	got, err := c.post(t.Context(), header, map[string]any{
		"jsonrpc": "2.0", "id": json.RawMessage(q.id), "result": map[string]any{"action": "accept", "content": map[string]any{}},
	}, nil)
	if err != nil || got.status != http.StatusAccepted {
		t.Errorf("the answer to %s: %d %s %v", q.id, got.status, got.body, err)
	}
}

// echoes calls the tool echo; state, if there is one, says that the person accepts what was asked.
func (c caller) echoes(t *testing.T, message, state string) answer {
	t.Helper()
	params := map[string]any{"name": "rec__echo", "arguments": map[string]any{"message": message}}
	if state != "" {
		params["requestState"], params["inputResponses"] = state, map[string]any{"approval": map[string]any{"action": "accept"}}
	}
	got, err := c.send(t.Context(), "tools/call", "rec__echo", params, nil)
	if err != nil || got.status == 0 {
		t.Fatalf("%q: %v", message, err)
	}
	return got
}
