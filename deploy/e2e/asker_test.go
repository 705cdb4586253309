// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// asker is an MCP server of mcp-go with a tool, prompt or resource for each way in which a server turns to its client. The
// same handlers serve both eras.
type asker struct {
	*server.MCPServer
	listeners sync.Map // sessions of subscriptions/listen
	url       string
	cancelled chan struct{} // gets an element for each call of wait that was taken back
	waiting   chan struct{} // gets an element when a call of wait has begun
}

// watched is the resource of an asker that can change.
const watched = "asker://state/now"

// startAsker serves an asker over Streamable HTTP until the test ends. versions are those it tells of; none means all.
func startAsker(t *testing.T, versions ...string) *asker {
	t.Helper()
	a := &asker{cancelled: make(chan struct{}, 8), waiting: make(chan struct{}, 8)}
	hooks := &server.Hooks{}
	hooks.AddBeforeAny(func(ctx context.Context, _ any, method mcp.MCPMethod, _ any) {
		if method == mcp.MethodSubscriptionsListen {
			session := server.ClientSessionFromContext(ctx)
			a.listeners.Store(session, nil)
			context.AfterFunc(ctx, func() { a.listeners.Delete(session) })
		}
	})
	a.MCPServer = server.NewMCPServer("asker", "1", server.WithHooks(hooks), server.WithToolCapabilities(true), server.WithPromptCapabilities(true),
		server.WithResourceCapabilities(true, true), server.WithLogging(), server.WithElicitation(), server.WithRoots(),
		server.WithCompletions(), server.WithPromptCompletionProvider(completions{}), server.WithPaginationLimit(3))
	a.EnableSampling()
	for name, handler := range map[string]server.ToolHandlerFunc{
		"ask_form": a.askForm, "ask_url": a.askURL, "ask_sampling": a.askSampling, "ask_roots": a.askRoots, "ask_twice": a.askTwice,
		"log": a.log, "progress": a.progress, "wait": a.wait, "touch": a.touch, "grow": a.grow,
	} {
		a.AddTool(mcp.NewTool(name, mcp.WithDescription("Does what its name says.")), handler)
	}
	a.addPrompt("greet")
	a.AddResource(mcp.NewResource(watched, "state"), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: watched, MIMEType: "text/plain", Text: "still"}}, nil
	})
	a.listen(t, versions)
	return a
}

func (a *asker) listen(t *testing.T, versions []string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: server.NewStreamableHTTPServer(a.MCPServer,
		server.WithStateful(true), server.WithStreamableHTTPProtocolVersions(versions...))}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	t.Cleanup(func() {
		_ = web.Close() // streams of the gateway are open
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("asker: %v", err)
		}
	})
	a.url = "http://" + l.Addr().String() + "/mcp"
}

func (a *asker) addPrompt(name string) {
	a.AddPrompt(mcp.NewPrompt(name, mcp.WithPromptDescription("Greets."), mcp.WithArgument("who")),
		func(_ context.Context, r mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return mcp.NewGetPromptResult("A greeting", []mcp.PromptMessage{
				mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent("Hello "+r.Params.Arguments["who"])),
			}), nil
		})
}

type completions struct{}

// CompletePromptArgument implements server.PromptCompletionProvider.
func (completions) CompletePromptArgument(_ context.Context, prompt string, a mcp.CompleteArgument, _ mcp.CompleteContext) (*mcp.Completion, error) {
	return &mcp.Completion{Values: []string{a.Value + "a of " + prompt}}, nil
}

func nameForm() mcp.ElicitationParams {
	return mcp.ElicitationParams{Mode: mcp.ElicitationModeForm, Message: "Your name?", RequestedSchema: map[string]any{
		"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}},
	}}
}

func (*asker) askForm(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	answer := server.ElicitationResponse(r.Params.InputResponses, "name")
	if answer == nil {
		return server.NewInputRequestBuilder("asked").Elicit("name", nameForm()).ToolResult(), nil
	}
	return mcp.NewToolResultText(fmt.Sprint(answer.Action, " ", answer.Content, " ", r.Params.RequestState)), nil
}

// askTwice asks again when it has the first answer.
func (*asker) askTwice(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	answer := server.ElicitationResponse(r.Params.InputResponses, "name")
	switch {
	case answer == nil:
		return server.NewInputRequestBuilder("1").Elicit("name", nameForm()).ToolResult(), nil
	case r.Params.RequestState == "1":
		return server.NewInputRequestBuilder("2").Elicit("name", nameForm()).ToolResult(), nil
	}
	return mcp.NewToolResultText("round " + r.Params.RequestState), nil
}

func (*asker) askURL(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	answer := server.ElicitationResponse(r.Params.InputResponses, "page")
	if answer == nil {
		return server.NewInputRequestBuilder("").Elicit("page", mcp.ElicitationParams{
			Mode: mcp.ElicitationModeURL, Message: "Open this", URL: "https://pay.example/4711", ElicitationID: "e-4711",
		}).ToolResult(), nil
	}
	return mcp.NewToolResultText("page: " + string(answer.Action)), nil
}

func (*asker) askSampling(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	answer := server.SamplingResponse(r.Params.InputResponses, "sample")
	if answer == nil {
		return server.NewInputRequestBuilder("").Sample("sample", mcp.CreateMessageParams{
			Messages:  []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent("Say something")}},
			MaxTokens: 10,
		}).ToolResult(), nil
	}
	text, ok := answer.Content.(mcp.TextContent)
	if !ok { // the type depends on the era
		return mcp.NewToolResultText("sampled: " + fmt.Sprint(answer.Content)), nil
	}
	return mcp.NewToolResultText(fmt.Sprint("sampled: map[text:", text.Text, " type:", text.Type, "]")), nil
}

func (*asker) askRoots(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	answer := server.RootsResponse(r.Params.InputResponses, "roots")
	if answer == nil {
		return server.NewInputRequestBuilder("").Roots("roots").ToolResult(), nil
	}
	uris := make([]string, 0, len(answer.Roots))
	for _, root := range answer.Roots {
		uris = append(uris, root.URI)
	}
	return mcp.NewToolResultText("roots: " + strings.Join(uris, " ")), nil
}

func (a *asker) log(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	for _, level := range []mcp.LoggingLevel{mcp.LoggingLevelDebug, mcp.LoggingLevelWarning} {
		if err := a.SendLogMessageToClient(ctx, mcp.NewLoggingMessageNotification(level, "asker", "a line")); err != nil {
			return nil, err
		}
	}
	flush()
	return mcp.NewToolResultText("logged"), nil
}

func (a *asker) progress(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if r.Params.Meta == nil || r.Params.Meta.ProgressToken == nil {
		return mcp.NewToolResultError("no progress token"), nil
	}
	for i := range 3 {
		err := a.SendNotificationToClient(ctx, "notifications/progress", map[string]any{
			"progressToken": r.Params.Meta.ProgressToken, "progress": i + 1, "total": 3, "message": fmt.Sprint("step ", i+1),
		})
		if err != nil {
			return nil, err
		}
	}
	flush()
	return mcp.NewToolResultText("done"), nil
}

// flush lets the library write what was sent: a response overtakes notifications that it has not written yet, and they are
// lost. It tells nobody when it has written them.
func flush() { time.Sleep(50 * time.Millisecond) }

// wait ends when it is taken back.
func (a *asker) wait(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	a.waiting <- struct{}{}
	<-ctx.Done()
	a.cancelled <- struct{}{}
	return nil, ctx.Err()
}

// touch tells that the resource has changed.
func (a *asker) touch(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	params := map[string]any{"uri": watched}
	a.SendNotificationToAllClients("notifications/resources/updated", params)
	n := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION}
	n.Method, n.Params.AdditionalFields = "notifications/resources/updated", params
	a.listeners.Range(func(session, _ any) bool { // the library leaves this to its user
		filter, _ := session.(server.SessionWithSubscriptionFilter).SubscriptionFilter()
		if slices.Contains(filter.ResourceSubscriptions, watched) {
			session.(server.ClientSession).NotificationChannel() <- n
		}
		return true
	})
	flush()
	return mcp.NewToolResultText("touched"), nil
}

// grow adds a prompt and a resource, which clients are told.
func (a *asker) grow(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	a.addPrompt("grown")
	a.AddResource(mcp.NewResource("asker://state/grown", "grown"), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		return []mcp.ResourceContents{mcp.TextResourceContents{URI: "asker://state/grown", Text: "new"}}, nil
	})
	flush()
	return mcp.NewToolResultText("grown"), nil
}
