// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// wayEntry is a column of [TestEveryWayToATool]: a way to call a tool with arguments.
type wayEntry struct {
	name   string
	open   func(t *testing.T, w *ways, token string) talk
	bare   bool // at the gateway that does not put the server in front of names
	params func(arguments string) string
	tool   string // that it reaches: <server>/<upstream name>
	// then is what the client does when it has the response to the call; it returns the one with the tool's result.
	then  func(t *testing.T, c talk, called string) string
	task  bool // the call makes a task
	never bool // the name is none: nothing runs, whatever the rule
}

// Names of the tools, as the gateway with prefixes shows them.
const (
	wayAct  = "up__act"
	wayLink = "up__link"
	wayWork = "up__work"
	wayJob  = "jobs__slow_compute"
)

func wayEntries() []wayEntry {
	const act = "up/act"
	modern := modernTalk(waysPrefixed, "{}")
	return []wayEntry{
		{name: "2026-07-28", open: modern, params: byName(wayAct), tool: act},
		{name: "2025-11-25", open: legacyTalk("2025-11-25"), params: byName(wayAct), tool: act},
		{name: "2025-06-18", open: legacyTalk("2025-06-18"), params: byName(wayAct), tool: act},
		{name: "2025-03-26", open: legacyTalk("2025-03-26"), params: byName(wayAct), tool: act},
		{name: "2024-11-05 over HTTP+SSE", open: sseTalk, params: byName(wayAct), tool: act},
		{name: "batch", open: batchTalk, params: byName(wayAct), tool: act},
		{name: "bare name", open: modernTalk(waysBare, "{}"), bare: true, params: byName("act"), tool: act},
		{name: "run_tool", open: modern, params: behind(wayAct, "arguments"), tool: act},
		{name: "run_tool, tool_args", open: modern, params: behind(wayAct, "tool_args"), tool: act},
		{name: "run_tool, legacy", open: legacyTalk("2025-06-18"), params: behind(wayAct, "arguments"), tool: act},
		{name: "run_tool, bare name", open: modern, params: behind("act", "arguments"), tool: act},
		{name: "other letter case", open: modern, params: byName("UP__ACT"), never: true},
		{name: "run_tool, other letter case", open: modern, params: behind("Act", "arguments"), never: true},
		{name: "old name", open: modern, params: byName("old_act"), never: true},
		{name: "run_tool, old name", open: modern, params: behind("old_act", "arguments"), never: true},
		{name: "name of another gateway", open: modern, params: byName("act"), never: true},
		{name: "resource link", open: modern, params: byName(wayLink), tool: "up/link", then: readLink},
		{name: "task of 2025-11-25", open: legacyTalk("2025-11-25"), params: asTask(wayWork), tool: "up/work", then: legacyTask, task: true},
		{
			name: "task of 2026-07-28", open: modernTalk(waysPrefixed, `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`),
			params: byName(wayJob), tool: "jobs/slow_compute", then: modernTask, task: true,
		},
	}
}

// byName makes the params of a call of a tool.
func byName(tool string) func(arguments string) string {
	return func(arguments string) string { return `{"name":"` + tool + `","arguments":` + arguments + `}` }
}

// asTask is byName for a client of 2025-11-25 that wants a task.
func asTask(tool string) func(arguments string) string {
	return func(arguments string) string {
		return `{"name":"` + tool + `","arguments":` + arguments + `,"task":{}}`
	}
}

// behind makes the params of a call of run_tool.
func behind(tool, member string) func(arguments string) string {
	return func(arguments string) string {
		return `{"name":"run_tool","arguments":{"tool_name":"` + tool + `","` + member + `":` + arguments + `}}`
	}
}

// readLink reads the resource that a result links to; where there is no result, it reads what it would link to. The response is that
// of the call: reading is no way to run a tool, which the server's calls show.
func readLink(t *testing.T, c talk, called string) string {
	t.Helper()
	var got struct {
		Result struct{ Content []struct{ Type, URI string } }
	}
	if err := json.Unmarshal([]byte(called), &got); err != nil {
		t.Fatalf("answer %q: %v", called, err)
	}
	uri := wayThing
	for _, content := range got.Result.Content {
		if content.Type == "resource_link" {
			uri = content.URI
		}
	}
	read := c.ask(t, "resources/read", `{"uri":"`+uri+`"}`)
	if !strings.Contains(read, "a thing") && !strings.Contains(read, "RESULT_BLOCKED") {
		t.Errorf("%s reads as %s", uri, read)
	}
	return called
}

// legacyTask waits for the result of a task of 2025-11-25, if there is one.
func legacyTask(t *testing.T, c talk, called string) string {
	t.Helper()
	var got struct {
		Result struct{ Task struct{ TaskID string } }
	}
	if err := json.Unmarshal([]byte(called), &got); err != nil {
		t.Fatalf("answer %q: %v", called, err)
	}
	if id := got.Result.Task.TaskID; id != "" {
		return c.ask(t, "tasks/result", `{"taskId":"`+id+`"}`)
	}
	return called
}

// modernTask waits for the end of a task of 2026-07-28, if there is one. The response is that of the call.
func modernTask(t *testing.T, c talk, called string) string {
	t.Helper()
	var got struct {
		Result struct{ TaskID, ResultType string }
	}
	if err := json.Unmarshal([]byte(called), &got); err != nil {
		t.Fatalf("answer %q: %v", called, err)
	}
	if strings.Contains(called, `"isError":true`) {
		return called
	}
	if got.Result.ResultType != "task" {
		t.Errorf("no task: %s", called)
		return called
	}
	testenv.Until(t, "the task to end", func() bool {
		state := c.ask(t, "tasks/get", `{"taskId":"`+got.Result.TaskID+`"}`)
		return strings.Contains(state, `"status":"completed"`) || strings.Contains(state, `"error":{`)
	})
	return called
}
