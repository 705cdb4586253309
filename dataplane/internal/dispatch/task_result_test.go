// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestTaskJudgedLater: a result policy that is written, or changed, while a task runs withholds its result where it cannot know what the
// call was: its tool or its arguments. One that has judged the call has nothing more to say, and no answer about a task makes its id one
// that was judged.
func TestTaskJudgedLater(t *testing.T) {
	type rule = resourcev1.ResultPolicy
	byArguments := func(n string) *rule { return &rule{Name: "a", Uid: "u-a", Mark: markBlock, When: "args.n == " + n} }
	other := &rule{Name: "b", Uid: "u-b", Mark: markBlock, When: `args.other == "x"`}
	off := byArguments("2")
	off.Mode = resourcev1.PolicyMode_POLICY_MODE_SHADOW
	reworded := byArguments("2")
	reworded.Reason = "Ask."
	for _, tc := range []struct {
		name          string
		before, after []*rule
		blocked       bool
	}{
		{name: "none"},
		{name: "judged", before: []*rule{byArguments("2")}, after: []*rule{byArguments("2")}},
		{name: "judged, another reason", before: []*rule{byArguments("2")}, after: []*rule{reworded}},
		{name: "one of two is gone", before: []*rule{byArguments("2"), other}, after: []*rule{other}},
		{name: "written since", after: []*rule{byArguments("2")}, blocked: true},
		{name: "another written since", before: []*rule{byArguments("2")}, after: []*rule{byArguments("2"), other}, blocked: true},
		{name: "changed since", before: []*rule{byArguments("2")}, after: []*rule{byArguments("3")}, blocked: true},
		{name: "enforced since", before: []*rule{off}, after: []*rule{byArguments("2")}, blocked: true},
		{name: "only counted", after: []*rule{off}},
		{name: "of the tool, since", after: []*rule{{Name: "a", Mark: markBlock, Tools: []string{"old__task"}}}, blocked: true},
		{name: "of another tool, since", after: []*rule{{Name: "a", Mark: markBlock, Tools: []string{"old__plain"}, When: "args.n == 2"}}},
		{name: "of another server, since", after: []*rule{{Name: "a", Mark: markBlock, Servers: []string{"new"}, When: "args.n == 2"}}},
		{name: "of other callers, since", after: []*rule{{Name: "a", Mark: markBlock, When: `caller.user == "nobody" && args.n == 2`}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"task":{"taskId":"t","status":"working"}}`)}}
			d := newDispatcher(t, w)
			ask := func(rules []*rule, method, params string) string {
				t.Helper()
				reply, err := d.Call(t.Context(), caller(screened(t, rules...), wire.V20251125), request(t, method, params), discard)
				if err != nil {
					t.Fatal(err)
				}
				return string(reply.Result) + string(reply.Error)
			}
			called := ask(tc.before, "tools/call", `{"name":"old__task","arguments":{"n":1},"task":{}}`)
			id, _ := wire.DecodeString(wire.Get([]byte(called), "task", "taskId"))
			if id == "" || id == "t" {
				t.Fatalf("called: %s", called)
			}
			w.reply = call.Reply{Result: []byte(`{"taskId":"t","status":"completed"}`)}
			state := ask(tc.before, "tasks/get", `{"taskId":"`+id+`"}`)
			if again, _ := wire.DecodeString(wire.Get([]byte(state), "taskId")); again != id {
				t.Errorf("the task %s becomes %s", id, state)
			}
			if state = ask(tc.after, "tasks/get", `{"taskId":"`+id+`"}`); !tc.blocked {
				if again, _ := wire.DecodeString(wire.Get([]byte(state), "taskId")); again != id {
					t.Errorf("the task %s becomes %s", id, state)
				}
			}
			w.reply = call.Reply{Result: []byte(`{"content":[{"type":"text","text":"sk-1"}]}`)}
			result := ask(tc.after, "tasks/result", `{"taskId":"`+id+`"}`)
			if strings.Contains(result, "sk-1") == tc.blocked || tc.blocked && !strings.Contains(result, "withholds this result") {
				t.Errorf("blocked %t: %s", !tc.blocked, result)
			}
		})
	}
}
