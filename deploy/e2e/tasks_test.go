// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/penstockhq/penstock/deploy/conformance/fixture"
	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestTasksExtension is the row "tasks" of mcp.md §4 at a server of 2026-07-28: the library of the extension sees the
// tasks, under ids of the node; a legacy client sees one long call, and is asked what the task asks. No server library has
// the extension: the server is the fixture of the conformance tests.
func TestTasksExtension(t *testing.T) {
	t.Parallel()
	upstream, err := fixture.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := upstream.Stop(); err != nil {
			t.Error(err)
		}
	})
	env := testenv.Start(t, testenv.Config{})
	publish(t, env, "fixture", fmt.Sprintf("streamable_http: {url: %q}\nprotocol: 2026-07-28", upstream.URL))
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "fixture").Text
	env.WaitEnforced(t)
	url := env.Nodes[0].Gateway("fixture")

	t.Run("modern", func(t *testing.T) {
		drive(t, "ext-tasks.mjs", "", map[string]string{"MCP_URL": url, "MCP_TOKEN": token, "MCP_TOOL_PREFIX": "fixture__"})
	})
	t.Run("legacy", func(t *testing.T) {
		s := startSpeaker(t, url, map[string]string{"Authorization": "Bearer " + token}, false)
		s.prefix = "fixture__"
		s.wants(t, "test_tool_with_task", "Hello, Ada!")
		if _, err := s.call(t.Context(), "failing_job", nil); err == nil || !strings.Contains(err.Error(), "isError: the job has failed") {
			t.Errorf("failing_job: %v", err)
		}
		s.wants(t, "slow_compute", "computed ") // it can do without a task, so it makes none
	})
}

// TestTasksOfSessions is the same row at a server of 2025-11-25, with one library on both sides: clients of that version
// see its tasks, under ids of the node that nobody else can use; clients of other versions see one long call.
func TestTasksOfSessions(t *testing.T) {
	t.Parallel()
	upstream := startAsker(t, "2025-11-25")
	upstream.addWork()
	env := testenv.Start(t, testenv.Config{})
	publish(t, env, "asker", fmt.Sprintf("streamable_http: {url: %q}\nprotocol: 2025-11-25", upstream.url))
	header := func(user string) map[string]string {
		return map[string]string{"Authorization": "Bearer " + env.Token(t, testenv.OfUser(user), "asker").Text}
	}
	admin := header(testenv.AdminEmail)
	env.WaitEnforced(t)
	url := env.Nodes[0].Gateway("asker")

	s := startSpeaker(t, url, admin, false)
	// The library has no call of its own that makes a task.
	answer, err := s.over.SendRequest(t.Context(), transport.JSONRPCRequest{
		JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId("work"), Method: "tools/call",
		Params: map[string]any{"name": "asker__work", "arguments": map[string]any{}, "task": map[string]any{}},
	})
	var created mcp.CreateTaskResult
	if err != nil || answer.Error != nil || json.Unmarshal(answer.Result, &created) != nil {
		t.Fatalf("%+v, %v", answer, err)
	}
	id := created.Task.TaskId
	if !strings.HasPrefix(id, "pst1.") {
		t.Errorf("the task is called %q", id)
	}
	ask := mcp.GetTaskRequest{}
	ask.Params.TaskId = id
	done, err := s.WaitForTask(t.Context(), ask, 50*time.Millisecond)
	if err != nil || done.Status != mcp.TaskStatusCompleted || done.TaskId != id {
		t.Errorf("it ended as %+v, %v", done, err)
	}
	want := mcp.TaskResultRequest{}
	want.Params.TaskId = id
	result, err := s.TaskResult(t.Context(), want)
	if err != nil || len(result.Content) != 1 || result.Content[0].(mcp.TextContent).Text != "worked" {
		t.Errorf("its result is %+v, %v", result, err)
	}

	again := startSpeaker(t, url, admin, true)
	again.prefix = "asker__"
	again.wants(t, "work", "worked")
	if got, err := again.GetTask(t.Context(), ask); err == nil {
		t.Errorf("a client of another era sees the task: %+v", got)
	}
}

// addWork adds a tool that runs as a task only.
func (a *asker) addWork() {
	server.WithTaskCapabilities(false, true, true)(a.MCPServer)
	a.AddTaskTool(mcp.NewTool("work", mcp.WithDescription("Works."), mcp.WithTaskSupport(mcp.TaskSupportRequired)),
		func(context.Context, mcp.CallToolRequest) (*mcp.CreateTaskResult, error) {
			return &mcp.CreateTaskResult{Content: []mcp.Content{mcp.NewTextContent("worked")}}, nil
		})
}
