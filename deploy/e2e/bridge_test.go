// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
)

// TestBridge is the table of mcp.md §4: a client library of each era at a server library of each era, through a gateway,
// and what one of them may ask or tell the other. The first two rows have no gateway between: they show that the two
// libraries agree about what the cells expect.
func TestBridge(t *testing.T) {
	t.Parallel()
	legacy, modern := startAsker(t, "2025-11-25"), startAsker(t, "2026-07-28")
	env := testenv.Start(t, testenv.Config{})
	publish(t, env, "legacy", fmt.Sprintf("streamable_http: {url: %q}\nprotocol: 2025-11-25", legacy.url))
	publish(t, env, "modern", fmt.Sprintf("streamable_http: {url: %q}\nprotocol: 2026-07-28", modern.url))
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "legacy", "modern").Text
	env.WaitEnforced(t)
	header := map[string]string{"Authorization": "Bearer " + token}

	tests := []struct {
		client, upstream string
		url              string
		asker            *asker
		header           map[string]string
		prefix           string
	}{
		{"legacy", "legacy directly", legacy.url, legacy, nil, ""},
		{"modern", "modern directly", modern.url, modern, nil, ""},
		{"legacy", "legacy", env.Nodes[0].Gateway("legacy"), legacy, header, "legacy__"},
		{"legacy", "modern", env.Nodes[0].Gateway("modern"), modern, header, "modern__"},
		{"modern", "legacy", env.Nodes[0].Gateway("legacy"), legacy, header, "legacy__"},
		{"modern", "modern", env.Nodes[0].Gateway("modern"), modern, header, "modern__"},
	}
	for _, tt := range tests {
		t.Run(tt.client+" client, upstream "+tt.upstream, func(t *testing.T) {
			s := startSpeaker(t, tt.url, tt.header, tt.client == "modern")
			s.prefix, s.asker = tt.prefix, tt.asker
			for _, cell := range cells() {
				t.Run(cell.name, func(t *testing.T) { cell.check(t, s) })
			}
		})
	}
}

// noting is a transport that notes the id of the newest request.
type noting struct {
	*transport.StreamableHTTP
	newest atomic.Pointer[mcp.RequestId]
}

// SendRequest implements transport.Interface.
func (n *noting) SendRequest(ctx context.Context, r transport.JSONRPCRequest) (*transport.JSONRPCResponse, error) {
	n.newest.Store(&r.ID)
	return n.StreamableHTTP.SendRequest(ctx, r)
}

// speaker is a client that answers everything and notes what it is told.
type speaker struct {
	*mcpclient.Client
	over   *noting
	modern bool
	prefix string
	asker  *asker

	mu    sync.Mutex
	heard []mcp.JSONRPCNotification
	more  chan struct{} // gets an element, if it has room, when something was heard
	asked []string      // modes of elicitations
}

func startSpeaker(t *testing.T, url string, header map[string]string, modern bool) *speaker {
	t.Helper()
	settings := []transport.StreamableHTTPCOption{transport.WithHTTPHeaders(header)}
	if !modern {
		settings = append(settings, transport.WithContinuousListening()) //nolint:staticcheck // with it, the client stays legacy
	}
	over, err := transport.NewStreamableHTTP(url, settings...)
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{over: &noting{StreamableHTTP: over}, modern: modern, more: make(chan struct{}, 1)}
	options := []mcpclient.ClientOption{
		mcpclient.WithSamplingHandler(answering{}), mcpclient.WithElicitationHandler(s), mcpclient.WithRootsHandler(answering{}),
		mcpclient.WithClientCapabilities(mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapability{
			Form: &struct{}{}, URL: &struct{}{},
		}}),
	}
	if !modern {
		options = append(options, mcpclient.WithLegacyProtocolOnly()) //nolint:staticcheck // what the newest version took away is what this tests
	}
	s.Client = mcpclient.NewClient(s.over, options...)
	s.OnNotification(func(n mcp.JSONRPCNotification) {
		s.mu.Lock()
		s.heard = append(s.heard, n)
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	start := mcp.InitializeRequest{}
	start.Params.ClientInfo = mcp.Implementation{Name: "e2e-bridge", Version: "1"}
	start.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	if _, err := s.Initialize(t.Context(), start); err != nil {
		t.Fatalf("initialize: %v", err)
	}
	if want := map[bool]string{true: "2026-07-28", false: "2025-11-25"}[modern]; s.ProtocolVersion() != want {
		t.Fatalf("version %s, want %s", s.ProtocolVersion(), want)
	}
	return s
}

// Elicit implements mcpclient.ElicitationHandler.
func (s *speaker) Elicit(_ context.Context, r mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Params.Mode+" "+r.Params.URL)
	response := mcp.ElicitationResponse{Action: mcp.ElicitationResponseActionAccept}
	if r.Params.Mode != mcp.ElicitationModeURL {
		response.Content = map[string]any{"name": "Ada"}
	}
	return &mcp.ElicitationResult{ElicitationResponse: response}, nil
}

// call calls a tool and returns its text.
func (s *speaker) call(ctx context.Context, tool string, meta *mcp.Meta) (string, error) {
	r := mcp.CallToolRequest{}
	r.Params.Name, r.Params.Meta = s.prefix+tool, meta
	result, err := s.CallTool(ctx, r)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, block := range result.Content {
		if b, ok := block.(mcp.TextContent); ok {
			text.WriteString(b.Text)
		}
	}
	if result.IsError {
		return "", fmt.Errorf("isError: %s", text.String())
	}
	return text.String(), nil
}

// wants calls a tool and compares what it says.
func (s *speaker) wants(t *testing.T, tool, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if got, err := s.call(ctx, tool, nil); err != nil || got != want {
		t.Errorf("%s: %q, %v, want %q", tool, got, err, want)
	}
}

// hears waits for a notification that match accepts.
func (s *speaker) hears(t *testing.T, what string, match func(mcp.JSONRPCNotification) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		found := slices.ContainsFunc(s.heard, match)
		s.mu.Unlock()
		if found {
			return
		}
		select {
		case <-s.more:
		case <-deadline:
			t.Errorf("%s was not heard; heard %v", what, s.notes(""))
			return
		}
	}
}

// notes returns what was heard with a method, or everything.
func (s *speaker) notes(method string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.heard {
		if method == "" || n.Method == method {
			text, _ := json.Marshal(n)
			found = append(found, string(text))
		}
	}
	return found
}

func (s *speaker) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard, s.asked = nil, nil
}

type cell struct {
	name  string
	check func(t *testing.T, s *speaker)
}

// cells are the rows of the table in mcp.md §4, but for tasks, which have a test of their own.
func cells() []cell {
	return []cell{
		{"elicitation, form", func(t *testing.T, s *speaker) { s.wants(t, "ask_form", "accept map[name:Ada] asked") }},
		{"elicitation, twice", func(t *testing.T, s *speaker) { s.wants(t, "ask_twice", "round 2") }},
		{"elicitation, url", checkURL},
		{"sampling", func(t *testing.T, s *speaker) {
			s.wants(t, "ask_sampling", "sampled: map[text:sampled by mcp-go type:text]")
		}},
		{"roots", func(t *testing.T, s *speaker) { s.wants(t, "ask_roots", "roots: file:///tmp/project") }},
		{"progress", checkProgress},
		{"cancellation", checkCancellation},
		{"logging", checkLogging},
		{"prompts, completion, pagination", checkPrompts},
		{"resource subscribe", checkSubscribe},
		{"list_changed", checkListChanged},
	}
}

func checkURL(t *testing.T, s *speaker) {
	s.forget()
	s.wants(t, "ask_url", "page: accept")
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := []string{"url https://pay.example/4711"}; !slices.Equal(s.asked, want) {
		t.Errorf("asked %q, want %q", s.asked, want)
	}
}

func checkProgress(t *testing.T, s *speaker) {
	s.forget()
	if got, err := s.call(t.Context(), "progress", &mcp.Meta{ProgressToken: "mine"}); err != nil || got != "done" {
		t.Fatalf("%q, %v", got, err)
	}
	s.hears(t, "the last step", func(n mcp.JSONRPCNotification) bool {
		return n.Method == "notifications/progress" && n.Params.AdditionalFields["message"] == "step 3" &&
			n.Params.AdditionalFields["progressToken"] == "mine"
	})
	if got := s.notes("notifications/progress"); len(got) != 3 {
		t.Errorf("%d steps, want 3: %q", len(got), got)
	}
}

func checkCancellation(t *testing.T, s *speaker) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	taken := make(chan error, 1)
	go func() {
		defer cancel()
		select {
		case <-s.asker.waiting:
		case <-ctx.Done():
			taken <- ctx.Err()
			return
		}
		var err error
		if !s.modern { // the library only disconnects, which cancels nothing (M-41)
			n := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION}
			n.Method, n.Params.AdditionalFields = "notifications/cancelled", map[string]any{"requestId": s.over.newest.Load()}
			err = s.over.SendNotification(t.Context(), n)
		}
		taken <- err
	}()
	if got, err := s.call(ctx, "wait", nil); err == nil {
		t.Errorf("answered %q, want to be canceled", got)
	}
	if err := <-taken; err != nil {
		t.Errorf("take the call back: %v", err)
	}
	select {
	case <-s.asker.cancelled:
	case <-time.After(20 * time.Second):
		t.Error("the server does not know")
	}
}

// checkLogging asks for warnings: a level comes with the session or with the request.
func checkLogging(t *testing.T, s *speaker) {
	s.forget()
	level := mcp.SetLevelRequest{}
	level.Params.Level = mcp.LoggingLevelWarning
	if err := s.SetLevel(t.Context(), level); err != nil { //nolint:staticcheck // what the newest version took away is what this tests
		t.Fatal(err)
	}
	s.wants(t, "log", "logged")
	s.hears(t, "the warning", func(n mcp.JSONRPCNotification) bool { return n.Method == "notifications/message" })
	if got := s.notes("notifications/message"); len(got) != 1 || !strings.Contains(got[0], `"level":"warning"`) {
		t.Errorf("heard %q, want one warning", got)
	}
}

func checkPrompts(t *testing.T, s *speaker) {
	tools, err := s.ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil || len(tools.Tools) != 10 {
		t.Errorf("tools: %v %v, want 10", tools, err)
	}
	prompts, err := s.ListPrompts(t.Context(), mcp.ListPromptsRequest{})
	if err != nil || !slices.ContainsFunc(prompts.Prompts, func(p mcp.Prompt) bool { return p.Name == s.prefix+"greet" }) {
		t.Errorf("prompts: %v %v", prompts, err)
	}
	get := mcp.GetPromptRequest{}
	get.Params.Name, get.Params.Arguments = s.prefix+"greet", map[string]string{"who": "Ada"}
	if prompt, err := s.GetPrompt(t.Context(), get); err != nil || prompt.Messages[0].Content.(mcp.TextContent).Text != "Hello Ada" {
		t.Errorf("prompt: %v %v", prompt, err)
	}
	complete := mcp.CompleteRequest{}
	complete.Params.Ref = mcp.PromptReference{Type: "ref/prompt", Name: s.prefix + "greet"}
	complete.Params.Argument = mcp.CompleteArgument{Name: "who", Value: "Ad"}
	if found, err := s.Complete(t.Context(), complete); err != nil || !slices.Equal(found.Completion.Values, []string{"Ada of greet"}) {
		t.Errorf("completion: %v %v", found, err)
	}
	read := mcp.ReadResourceRequest{}
	read.Params.URI = watched
	contents, err := s.ReadResource(t.Context(), read)
	if err != nil || contents.Contents[0].(mcp.TextResourceContents).Text != "still" {
		t.Errorf("resource: %v %v", contents, err)
	}
}

// checkSubscribe watches a resource: by resources/subscribe, or by subscriptions/listen.
func checkSubscribe(t *testing.T, s *speaker) {
	s.forget()
	stop := s.watch(t, mcp.SubscriptionFilter{ResourceSubscriptions: []string{watched}})
	defer stop()
	s.wants(t, "touch", "touched")
	s.hears(t, "the update", func(n mcp.JSONRPCNotification) bool {
		return n.Method == "notifications/resources/updated" && n.Params.AdditionalFields["uri"] == watched
	})
}

func checkListChanged(t *testing.T, s *speaker) {
	s.forget()
	stop := s.watch(t, mcp.SubscriptionFilter{PromptsListChanged: true, ResourcesListChanged: true})
	defer stop()
	s.wants(t, "grow", "grown")
	s.hearsOfLists(t)
	s.lists(t, 2)
	s.forget()
	s.asker.DeletePrompts("grown")
	s.asker.DeleteResources("asker://state/grown")
	s.hearsOfLists(t)
	s.lists(t, 1)
}

// hearsOfLists waits for both notifications.
func (s *speaker) hearsOfLists(t *testing.T) {
	t.Helper()
	for _, method := range []string{"notifications/prompts/list_changed", "notifications/resources/list_changed"} {
		s.hears(t, method, func(n mcp.JSONRPCNotification) bool { return n.Method == method })
	}
}

// lists compares how many prompts and resources there are.
func (s *speaker) lists(t *testing.T, want int) {
	t.Helper()
	prompts, err := s.ListPrompts(t.Context(), mcp.ListPromptsRequest{})
	if err != nil || len(prompts.Prompts) != want {
		t.Errorf("prompts: %v %v, want %d", prompts, err, want)
	}
	resources, err := s.ListResources(t.Context(), mcp.ListResourcesRequest{})
	if err != nil || len(resources.Resources) != want {
		t.Errorf("resources: %v %v, want %d", resources, err, want)
	}
}

// watch subscribes and returns when the server has taken note.
func (s *speaker) watch(t *testing.T, want mcp.SubscriptionFilter) (stop func()) {
	t.Helper()
	if !s.modern {
		for _, uri := range want.ResourceSubscriptions {
			r := mcp.SubscribeRequest{}
			r.Params.URI = uri
			if err := s.Subscribe(t.Context(), r); err != nil { //nolint:staticcheck // what the newest version took away is what this tests
				t.Fatal(err)
			}
		}
		return func() {}
	}
	stop, err := s.ListenAsync(t.Context(), want, func(err error) { t.Errorf("listen: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	s.hears(t, "the acknowledgement", func(n mcp.JSONRPCNotification) bool {
		return n.Method == "notifications/subscriptions/acknowledged"
	})
	return stop
}
