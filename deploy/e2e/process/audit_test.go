// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// auditWindow is more than a node may lose of what it has answered when it is killed: 5 ms, and what a busy machine adds.
const auditWindow = 250 * time.Millisecond

// auditCanary is the value of an argument. No event may hold it.
const auditCanary = "canary-3f9c1b7a"

// recorded is an event as `penstock audit -o json` writes it.
type recorded struct {
	ID        string
	Source    string
	Principal string
	Outcome   string
	Reason    string
	RequestID string `json:"request_id"`
	Call      *struct {
		Node, Gateway, Tool, Door, Connection, Policy string
		Action                                        string `json:"policy_action"`
		Owner                                         string `json:"connection_owner"`
		Version                                       string `json:"protocol_version"`
		Requested                                     string `json:"requested_name"`
	} `json:"tool_call"`
}

// audited runs penstock audit and reads what it writes.
func audited(f *fleet, args ...string) (events []recorded) {
	f.t.Helper()
	out := f.must(append([]string{"audit", "-o", "json", "--limit", "100000"}, args...)...)
	for line := range strings.Lines(out) {
		var e recorded
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			f.t.Fatalf("penstock audit: %v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// TestAudit: each call through real processes is one event, whatever came of it; events outlive a control plane that is away and a node
// that is killed, and none comes twice; a full queue does what it is told; no argument is in any of them (gateway.md G-60).
func TestAudit(t *testing.T) {
	f := newFleet(t)
	auth, control := f.startAuth(), f.startControl()
	lines := f.path("audit/calls.jsonl")
	flags := []string{"--audit.file", lines}
	node := f.startNode("node-a", flags...)
	for _, port := range []int{9083, 9081, 9080} {
		ready(t, f.ops(port))
	}
	defer auth.stop()
	u := newUpstream(t, "")
	f.apply(nil, plainManifests(u.URL, "")+fmt.Sprintf(`---
kind: Gateway
name: found
visibility: {organization: {}}
authentication: {bearer_token: {}}
load_tools_when_needed: true
rate_limits: [{per: TOOL, tool_calls: 1, period: 24h, tools: [open__slow]}]
tools:
- {tool: open/echo, pinned: {connection: open}}
- {tool: open/slow, pinned: {connection: open}}
---
kind: Policy
name: no-canary
when: 'args.message == %q'
action: BLOCK
`, auditCanary))
	token := f.must("token", "create", "--organization", "--gateway", "plain", "--gateway", "found", "--name", "org")
	f.must("wait")
	following := start(t, options{env: []string{portOffset(f.offset), "PENSTOCK_TOKEN=" + readFile(t, f.path("admin.token"))}},
		"penstock", "audit", "--follow", "-o", "json", "--source", "tool_call")
	c := caller{url: f.gateway(8080, "plain"), token: token}
	t.Run("outcomes", func(t *testing.T) { auditOutcomes(t, f, c) })
	following.said(following.stdout, `"outcome":"refused","reason":"POLICY_BLOCKED"`)
	following.kill()

	t.Run("killed", func(t *testing.T) {
		control.stop()
		answered, attempts := callUntilKilled(t, c, node)
		node = f.startNode("node-a", flags...)
		control = f.startControl()
		ready(t, f.ops(9081))
		eventually(t, time.Minute, func() error { return tooFew(f, "kept", answered) })
		got := countEvents(t, f)
		if got > attempts {
			t.Errorf("%d events of %d calls", got, attempts)
		}
		t.Logf("%d calls were sent, %d answered more than %s before the kill; %d are recorded", attempts, answered, auditWindow, got)
	})
	t.Run("full", func(t *testing.T) {
		node.stop()
		node = f.startNode("node-a", append(flags, "--audit.max_bytes=64KiB", "--audit.full=block")...)
		ready(t, f.ops(9080))
		control = fullQueue(t, f, c, control, true)
		node.stop()
		node = f.startNode("node-a", append(flags, "--audit.max_bytes=64KiB", "--audit.full=drop")...)
		ready(t, f.ops(9080))
		control = fullQueue(t, f, c, control, false)
	})
	node.stop()
	control.stop()
	for _, pattern := range []string{lines + "*", f.path("node-a/audit/*"), f.path("controlplane.db*")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			policy := `args.message == "` + auditCanary // the one place where it belongs
			plain := strings.NewReplacer(policy, "", strings.ReplaceAll(policy, `"`, `\"`), "").Replace(string(text))
			if err != nil || strings.Contains(plain, auditCanary) || strings.Contains(plain, token) {
				t.Errorf("%s holds an argument or a token, %v", name, err)
			}
		}
	}
	if text := readFile(t, lines); !strings.Contains(text, `"node":"node-a"`) || !strings.Contains(text, `"tool":"open/echo"`) {
		t.Errorf("the file of lines has %d bytes", len(text))
	}
}

// auditOutcomes makes calls of each kind, and looks for the event of each.
func auditOutcomes(t *testing.T, f *fleet, plain caller) {
	ctx := t.Context()
	old, err := plain.initialize(ctx)
	if err != nil {
		t.Fatal(err)
	}
	found := plain
	found.url = f.gateway(8080, "found")
	run := func(tool, message string) map[string]any {
		return map[string]any{"tool_name": tool, "arguments": map[string]any{"message": message}}
	}
	said := func(message string) map[string]any { return map[string]any{"message": message} }
	type call struct {
		c    caller
		name string
		args any
		want string
	}
	calls := []call{
		{plain, "open__echo", said("x"), "plain open/echo direct " + modern + " ok   ALLOW"},
		{old, "open__echo", said("x"), "plain open/echo direct " + legacy + " ok   ALLOW"},
		{found, "run_tool", run("open__echo", "x"), "found open/echo run_tool " + modern + " ok   ALLOW"},
		{plain, "open__echo", said(auditCanary), "plain open/echo direct " + modern + " refused POLICY_BLOCKED no-canary BLOCK"},
		{old, "open__echo", said(auditCanary), "plain open/echo direct " + legacy + " refused POLICY_BLOCKED no-canary BLOCK"},
		{found, "run_tool", run("echo", auditCanary), "found open/echo run_tool " + modern + " refused POLICY_BLOCKED no-canary BLOCK"},
		{plain, "nothing", said("x"), "plain  direct " + modern + " refused UNKNOWN_TOOL"},
		{found, "run_tool", run("nothing", "x"), "found  run_tool " + modern + " refused UNKNOWN_TOOL"},
		{found, "run_tool", map[string]any{"tool_name": "echo", "arguments": map[string]any{"message": 1}}, "found open/echo run_tool " + modern + " refused TOOL_ARGUMENTS_INVALID"},
		{found, "search_tools", map[string]any{"query": "echo"}, "found search_tools direct " + modern + " ok"},
		{found, "open__slow", said("x"), "found open/slow direct " + modern + " ok   ALLOW"},
		{found, "run_tool", run("slow", "x"), "found open/slow run_tool " + modern + " refused RATE_LIMITED  ALLOW"},
	}
	var want []string
	for _, k := range calls {
		if _, err := k.c.tool(ctx, k.name, k.args); err != nil {
			t.Fatal(err)
		}
		want = append(want, k.want)
	}
	slices.Sort(want)
	var events []recorded
	eventually(t, time.Minute, func() error {
		events = audited(f, "--source", "tool_call", "--since", "10m")
		var got []string
		for _, e := range events {
			text := strings.Join([]string{e.Call.Gateway, e.Call.Tool, e.Call.Door, e.Call.Version, e.Outcome, e.Reason, e.Call.Policy, e.Call.Action}, " ")
			got = append(got, strings.TrimSpace(text))
			if e.Principal != "organization" || e.Call.Node != "node-a" || e.RequestID == "" || (e.Outcome == "ok" && e.Call.Tool != "search_tools" && e.Call.Owner != "organization") {
				t.Errorf("%+v", e)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("recorded:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
	for flags, want := range map[string]int{
		"--outcome refused": 7, "--tool open/slow": 2, "--tool open/*": 9, "--gateway found": 7, "--policy no-canary": 3,
		"--user organization": 12, "--user admin@penstock.local --source tool_call": 0,
	} {
		if got := audited(f, append(strings.Fields(flags), "--source", "tool_call")...); len(got) != want {
			t.Errorf("%s: %d events, want %d", flags, len(got), want)
		}
	}
	table := f.must("audit", "--limit", "200")
	for _, text := range []string{"TIME ", " open/echo ", "POLICY_BLOCKED", "no-canary", "? nothing", "Apply", "CreateBearerToken"} {
		if !strings.Contains(table, text) {
			t.Errorf("the table lacks %q:\n%s", text, table)
		}
	}
}

// callUntilKilled calls from several sides, kills the node in the middle of it, and returns how many calls had their answer well before,
// and how many were made.
func callUntilKilled(t *testing.T, c caller, node *program) (answered, attempts int) {
	t.Helper()
	var mu sync.Mutex
	var times []time.Time
	enough := make(chan struct{})
	var running sync.WaitGroup
	stop := make(chan struct{})
	c.url = strings.TrimSuffix(c.url, "plain") + "found"
	for range 4 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				attempts++
				mu.Unlock()
				err := c.echo(t.Context(), "open__echo")
				mu.Lock()
				if err == nil {
					if times = append(times, time.Now()); len(times) == 300 {
						close(enough)
					}
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Error("the calls take too long")
	}
	node.kill()
	killed := time.Now()
	close(stop)
	running.Wait()
	for _, at := range times {
		if at.Before(killed.Add(-auditWindow)) {
			answered++
		}
	}
	return answered, attempts
}

// countEvents counts the calls of open/echo at the gateway found, but for the three of auditOutcomes, and wants each once.
func countEvents(t *testing.T, f *fleet) int {
	t.Helper()
	seen := make(map[string]bool)
	for _, e := range audited(f, "--gateway", "found", "--tool", "open/echo") {
		if seen[e.RequestID] {
			t.Errorf("request %s is recorded twice", e.RequestID)
		}
		seen[e.RequestID] = true
	}
	return len(seen) - 3
}

func tooFew(f *fleet, what string, want int) error {
	if got := countEvents(f.t, f); got < want {
		return fmt.Errorf("%s: %d events, want at least %d", what, got, want)
	}
	return nil
}

// fullQueue calls while there is no control plane until the queue is full, and after that, and starts a control plane again.
func fullQueue(t *testing.T, f *fleet, c caller, control *program, blocks bool) *program {
	t.Helper()
	control.stop()
	full := func() bool {
		if !blocks {
			return metric(t, f.ops(9080), "penstock_audit_dropped_total") > 0
		}
		a, err := c.tool(t.Context(), "open__echo", map[string]any{"message": "x"})
		return err == nil && a.failed && strings.Contains(a.body, "AUDIT_QUEUE_FULL")
	}
	for n := 0; !full(); n++ {
		if n > 3000 {
			t.Fatal("the queue does not fill")
		}
		if err := c.echo(t.Context(), "open__echo"); err != nil && !blocks {
			t.Fatalf("a call while events are dropped: %v", err)
		}
	}
	if held := metric(t, f.ops(9080), "penstock_audit_queue_bytes"); held < 60<<10 || held > 128<<10 {
		t.Errorf("the queue holds %v bytes", held)
	}
	control = f.startControl()
	eventually(t, time.Minute, func() error {
		if held := metric(t, f.ops(9080), "penstock_audit_queue_bytes"); held > 1000 {
			return fmt.Errorf("the queue holds %v bytes", held)
		}
		return c.echo(t.Context(), "open__echo")
	})
	return control
}
