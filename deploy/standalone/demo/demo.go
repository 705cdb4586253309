// SPDX-License-Identifier: Apache-2.0

// Package demo is the MCP server that penstock-standalone --demo puts behind its first gateway, so that a new user has
// something to call. It is an ordinary MCP server on loopback: nothing in Penstock knows that it is a demo. It must
// never import a room of Penstock.
package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Path is the path of the MCP endpoint in [Handler].
const Path = "/mcp"

// Limits of the countdown tool: long enough to see progress and to cancel.
const (
	maxSteps  = 60
	maxStepMS = 1000
)

// Handler returns the demo server: the tools echo, add, current_time, word_count and countdown (which reports
// progress), the resource demo://about, and the prompt summarize.
func Handler(version string) http.Handler {
	s := server.NewMCPServer("penstock-demo", version, server.WithToolCapabilities(false),
		server.WithResourceCapabilities(false, false), server.WithPromptCapabilities(false), server.WithRecovery(),
		server.WithInstructions("Small tools to try a gateway with."))
	addTools(s)
	s.AddResource(mcp.NewResource("demo://about", "About this server", mcp.WithMIMEType("text/plain"),
		mcp.WithResourceDescription("What the demo server is for.")), about)
	s.AddPrompt(mcp.NewPrompt("summarize", mcp.WithPromptDescription("Asks for a summary of a text."),
		mcp.WithArgument("text", mcp.ArgumentDescription("The text."), mcp.RequiredArgument())), summarize)
	return server.NewStreamableHTTPServer(s, server.WithEndpointPath(Path), server.WithStateful(true))
}

func addTools(s *server.MCPServer) {
	s.AddTool(mcp.NewTool("echo", mcp.WithDescription("Returns the message it was given."), mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithString("message", mcp.Required(), mcp.Description("What to return."))), echo)
	s.AddTool(mcp.NewTool("add", mcp.WithDescription("Adds two numbers."), mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithNumber("a", mcp.Required(), mcp.Description("First number.")),
		mcp.WithNumber("b", mcp.Required(), mcp.Description("Second number."))), add)
	s.AddTool(mcp.NewTool("current_time", mcp.WithDescription("Returns the time in a time zone."),
		mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithString("zone", mcp.Description("IANA time zone, for example Europe/Berlin. Default UTC."))), currentTime)
	s.AddTool(mcp.NewTool("word_count", mcp.WithDescription("Counts lines, words and characters of a text."),
		mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithString("text", mcp.Required(), mcp.Description("The text."))), wordCount)
	s.AddTool(mcp.NewTool("countdown", mcp.WithDescription("Counts down, reporting progress at every step. Can be cancelled."),
		mcp.WithReadOnlyHintAnnotation(true),
		mcp.WithNumber("steps", mcp.Required(), mcp.Description("Number of steps, 1 to 60.")),
		mcp.WithNumber("step_ms", mcp.Description("Length of a step in milliseconds, 1 to 1000. Default 200."))), countdown)
}

func echo(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	message, err := r.RequireString("message")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultText(message), nil
}

func add(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	a, err := r.RequireFloat("a")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	b, err := r.RequireFloat("b")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	return mcp.NewToolResultText(fmt.Sprint(a + b)), nil
}

func currentTime(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	zone, err := time.LoadLocation(r.GetString("zone", "UTC"))
	if err == nil {
		return mcp.NewToolResultText(time.Now().In(zone).Format(time.RFC3339)), nil
	}
	return mcp.NewToolResultErrorf("%q is not a time zone; try Europe/Berlin or America/New_York", r.GetString("zone", "")), nil
}

func wordCount(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	text, err := r.RequireString("text")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	counts := map[string]int{
		"lines": strings.Count(text, "\n") + 1, "words": len(strings.Fields(text)), "characters": len([]rune(text)),
	}
	plain, err := json.Marshal(counts)
	if err != nil {
		return nil, fmt.Errorf("encode counts: %w", err)
	}
	return mcp.NewToolResultStructured(counts, string(plain)), nil
}

func countdown(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	steps := r.GetInt("steps", 0)
	stepMS := r.GetInt("step_ms", 200)
	if steps < 1 || steps > maxSteps || stepMS < 1 || stepMS > maxStepMS {
		return mcp.NewToolResultErrorf("steps must be 1 to %d, step_ms 1 to %d", maxSteps, maxStepMS), nil
	}
	tick := time.NewTicker(time.Duration(stepMS) * time.Millisecond)
	defer tick.Stop()
	for i := range steps {
		if err := progress(ctx, r, i, steps); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
	return mcp.NewToolResultText("Lift-off!"), nil
}

func progress(ctx context.Context, r mcp.CallToolRequest, done, steps int) error {
	if r.Params.Meta == nil || r.Params.Meta.ProgressToken == nil {
		return nil
	}
	err := server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
		"progressToken": r.Params.Meta.ProgressToken, "progress": done, "total": steps,
		"message": fmt.Sprintf("%d to go", steps-done),
	})
	if err != nil {
		return fmt.Errorf("send progress: %w", err)
	}
	return nil
}

func about(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
	return []mcp.ResourceContents{mcp.TextResourceContents{
		URI: "demo://about", MIMEType: "text/plain", Text: "A small MCP server to try Penstock with.",
	}}, nil
}

func summarize(_ context.Context, r mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
	return mcp.NewGetPromptResult("Summary", []mcp.PromptMessage{
		mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent("Summarise this text:\n\n"+r.Params.Arguments["text"])),
	}), nil
}
