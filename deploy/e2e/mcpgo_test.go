// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestMCPGo has the mcp-go client, of both eras and over both transports, use server-everything through a gateway.
func TestMCPGo(t *testing.T) {
	t.Parallel()
	env := testenv.Start(t, testenv.Config{})
	publish(t, env, "everything", streamableHTTP(startNPM(t, "everything", "http")))
	header := map[string]string{"Authorization": "Bearer " + env.Token(t, testenv.OfUser(testenv.AdminEmail), "everything").Text}
	env.WaitEnforced(t)
	url := env.Nodes[0].Gateway("everything")

	streamable := func(more ...transport.StreamableHTTPCOption) func(t *testing.T) transport.Interface {
		return func(t *testing.T) transport.Interface {
			t.Helper()
			s, err := transport.NewStreamableHTTP(url, append(more, transport.WithHTTPHeaders(header))...)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	legacy := []mcpclient.ClientOption{mcpclient.WithLegacyProtocolOnly()} //nolint:staticcheck // what the newest version took away is what this tests
	listening := transport.WithContinuousListening()                       //nolint:staticcheck // what the newest version took away is what this tests
	tests := []struct {
		name    string
		make    func(t *testing.T) transport.Interface
		options []mcpclient.ClientOption
		version string
	}{
		{"modern", streamable(), nil, "2026-07-28"},
		{"legacy", streamable(listening), legacy, "2025-11-25"},
		{"sse", func(t *testing.T) transport.Interface {
			t.Helper()
			s, err := transport.NewSSE(url, transport.WithHeaders(header))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}, legacy, "2025-11-25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options := append(tt.options, mcpclient.WithSamplingHandler(answering{}), mcpclient.WithElicitationHandler(answering{}),
				mcpclient.WithRootsHandler(answering{}))
			c := mcpclient.NewClient(tt.make(t), options...)
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			useMCPGo(t, c, tt.version, tt.name != "sse")
		})
	}
}

func useMCPGo(t *testing.T, c *mcpclient.Client, version string, asked bool) {
	t.Helper()
	start := mcp.InitializeRequest{}
	start.Params.ClientInfo = mcp.Implementation{Name: "e2e-mcp-go", Version: "1"}
	start.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	if _, err := c.Initialize(t.Context(), start); err != nil {
		t.Fatalf("initialize: %v", err)
	}
	if got := c.ProtocolVersion(); got != version {
		t.Errorf("version %s, want %s", got, version)
	}
	tools, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil || !slices.ContainsFunc(tools.Tools, func(tool mcp.Tool) bool { return tool.Name == "everything__echo" }) {
		t.Errorf("tools: %v %v", tools, err)
	}
	prompts, err := c.ListPrompts(t.Context(), mcp.ListPromptsRequest{})
	if err != nil || len(prompts.Prompts) < 4 {
		t.Errorf("prompts: %v %v", prompts, err)
	}
	get := mcp.GetPromptRequest{}
	get.Params.Name, get.Params.Arguments = "everything__args-prompt", map[string]string{"city": "Ulm"}
	if prompt, err := c.GetPrompt(t.Context(), get); err != nil || !strings.Contains(prompt.Messages[0].Content.(mcp.TextContent).Text, "Ulm") {
		t.Errorf("prompt: %v %v", prompt, err)
	}
	resources, err := c.ListResources(t.Context(), mcp.ListResourcesRequest{})
	if err != nil || len(resources.Resources) < 4 {
		t.Fatalf("resources: %v %v", resources, err)
	}
	read := mcp.ReadResourceRequest{}
	read.Params.URI = resources.Resources[0].URI
	if contents, err := c.ReadResource(t.Context(), read); err != nil || len(contents.Contents) != 1 {
		t.Errorf("read: %v %v", contents, err)
	}
	texts := map[string]string{"echo": "Echo: hi"}
	if asked { // over HTTP+SSE the library takes questions for responses
		texts["trigger-sampling-request"], texts["trigger-elicitation-request"] = "sampled by mcp-go", "Name: Ada"
	}
	for tool, want := range texts {
		call := mcp.CallToolRequest{}
		call.Params.Name, call.Params.Arguments = "everything__"+tool, map[string]any{"message": "hi", "prompt": "why?"}
		result, err := c.CallTool(t.Context(), call)
		if err != nil {
			t.Errorf("%s: %v", tool, err)
			continue
		}
		var text strings.Builder
		for _, block := range result.Content {
			if b, ok := block.(mcp.TextContent); ok {
				text.WriteString(b.Text)
			}
		}
		if result.IsError || !strings.Contains(text.String(), want) {
			t.Errorf("%s: %q, want %q in it", tool, text.String(), want)
		}
	}
}

// answering answers every question of a server.
type answering struct{}

// CreateMessage implements mcpclient.SamplingHandler.
func (answering) CreateMessage(context.Context, mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
	return &mcp.CreateMessageResult{
		SamplingMessage: mcp.SamplingMessage{Role: mcp.RoleAssistant, Content: mcp.NewTextContent("sampled by mcp-go")}, Model: "none",
	}, nil
}

// Elicit implements mcpclient.ElicitationHandler.
func (answering) Elicit(context.Context, mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{
		Action: mcp.ElicitationResponseActionAccept, Content: map[string]any{"name": "Ada"},
	}}, nil
}

// ListRoots implements mcpclient.RootsHandler.
func (answering) ListRoots(context.Context, mcp.ListRootsRequest) (*mcp.ListRootsResult, error) {
	return &mcp.ListRootsResult{Roots: []mcp.Root{{URI: "file:///tmp/project", Name: "the project"}}}, nil
}
