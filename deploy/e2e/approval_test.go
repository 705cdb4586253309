// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// held is two nodes with a server whose tool echo is held on two gateways: by "self" for the caller, by "others" for bob and carol.
type held struct {
	*testenv.Env

	server     *recorder.Server
	bob, carol *admin.Client
	token      string // of Ada
}

func startHeld(t *testing.T) *held {
	t.Helper()
	h := &held{Env: testenv.Start(t, testenv.Config{Nodes: 2, TLS: true}), server: recorder.Start(t)}
	h.Apply(t, users("ada@penstock.test", "bob@penstock.test", "carol@penstock.test"))
	install(t, h.Env, "rec", h.server.URL)
	gateway(t, h.Env, "self", organization, "rec/echo")
	gateway(t, h.Env, "others", organization, "rec/echo")
	h.Apply(t, `
kind: Policy
name: confirm
gateways: [self]
tools: [rec__echo]
action: REQUIRE_APPROVAL
approvers: {caller: {}}
reason: It costs.
---
kind: Policy
name: four-eyes
gateways: [others]
tools: [rec__echo]
action: REQUIRE_APPROVAL
approvers: {users: [bob@penstock.test, carol@penstock.test]}
`)
	h.bob = h.AdminAs(t, h.Token(t, testenv.OfUser("bob@penstock.test")).Text)
	h.carol = h.AdminAs(t, h.Token(t, testenv.OfUser("carol@penstock.test")).Text)
	h.token = h.Token(t, testenv.OfUser("ada@penstock.test"), "self", "others").Text
	h.WaitEnforced(t)
	return h
}

// ran returns the messages that the server has echoed, since the last time.
func (h *held) ran() (messages []string) {
	for _, r := range h.server.Calls() {
		var m struct {
			Params struct{ Arguments struct{ Message string } }
		}
		_ = json.Unmarshal(r.Body, &m) // what cannot be read is an empty message, which no test expects
		messages = append(messages, m.Params.Arguments.Message)
	}
	h.server.Forget()
	return messages
}

func (h *held) ranOnce(t *testing.T, message string) {
	t.Helper()
	if got := h.ran(); len(got) != 1 || got[0] != message {
		t.Errorf("the server ran %q, want %q once", got, message)
	}
}

func (h *held) ranNothing(t *testing.T) {
	t.Helper()
	if got := h.ran(); len(got) != 0 {
		t.Errorf("the server ran %q", got)
	}
}

// pending returns the one approval that waits.
func (h *held) pending(t *testing.T) *adminv1.Approval {
	t.Helper()
	list, err := h.bob.Approvals.ListApprovals(t.Context(), &adminv1.ListApprovalsRequest{})
	if err != nil || len(list.GetApprovals()) != 1 {
		t.Errorf("approvals %v, %v", list, err)
		return &adminv1.Approval{}
	}
	return list.GetApprovals()[0]
}

func (h *held) decide(ctx context.Context, by *admin.Client, id string, approve bool) error {
	_, err := by.Approvals.DecideApproval(ctx, &adminv1.DecideApprovalRequest{Id: id, Approve: approve, Reason: "Because."})
	return err
}

// stateless sends a call of 2026-07-28 by a client that can show forms. more are further members of params.
func (h *held) stateless(t *testing.T, node int, gateway, message, more string) (state string, r toolResult) {
	t.Helper()
	q := rawclient.ModernRequest("tools/call", fmt.Sprintf(`{"name":"rec__echo","arguments":{"message":%q}%s}`, message, more), nil)
	q.Body = strings.Replace(q.Body, `"io.modelcontextprotocol/clientCapabilities":{}`, `"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}`, 1)
	a := client(h.Env, h.Nodes[node], gateway, h.token).Send(t, q)
	var asked struct{ Result struct{ RequestState string } }
	if err := json.Unmarshal([]byte(a.Last()), &asked); err != nil {
		t.Errorf("%s: %v", a.Body, err)
		return "", r
	}
	_ = json.Unmarshal([]byte(a.Last()), &r)
	return asked.Result.RequestState, r
}

func back(state, action string) string {
	return fmt.Sprintf(`,"requestState":%q,"inputResponses":{"approval":{"action":%q}}`, state, action)
}

// by is a person at a client of mcp-go.
type by func(ctx context.Context, message string) mcp.ElicitationResponseAction

// Elicit implements mcpclient.ElicitationHandler.
func (f by) Elicit(ctx context.Context, r mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: f(ctx, r.Params.Message)}}, nil
}

// echo calls the tool with a client of mcp-go. person is nil for a client that cannot ask.
func (h *held) echo(t *testing.T, legacy bool, node int, gateway, message string, person by) *mcp.CallToolResult {
	t.Helper()
	s, err := transport.NewStreamableHTTP(h.Nodes[node].Gateway(gateway), transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + h.token}))
	if err != nil {
		t.Fatal(err)
	}
	var options []mcpclient.ClientOption
	if legacy {
		options = append(options, mcpclient.WithLegacyProtocolOnly()) //nolint:staticcheck // what the newest version took away is what this tests
	}
	if person != nil {
		options = append(options, mcpclient.WithElicitationHandler(person))
	}
	c := mcpclient.NewClient(s, options...)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	start := mcp.InitializeRequest{}
	start.Params.ClientInfo, start.Params.ProtocolVersion = mcp.Implementation{Name: "e2e", Version: "1"}, mcp.LATEST_PROTOCOL_VERSION
	if _, err := c.Initialize(t.Context(), start); err != nil {
		t.Fatalf("initialize: %v", err)
	}
	q := mcp.CallToolRequest{}
	q.Params.Name, q.Params.Arguments = "rec__echo", map[string]any{"message": message}
	result, err := c.CallTool(within(t, time.Minute), q)
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	return result
}

func textOf(r *mcp.CallToolResult) string {
	var text strings.Builder
	for _, block := range r.Content {
		if b, ok := block.(mcp.TextContent); ok {
			text.WriteString(b.Text)
		}
	}
	return text.String()
}

// TestApprovals has calls held by two nodes and one control plane, for real clients of both eras: whatever people and nodes do, the server
// runs a call at most once, and as it was approved (G-34).
func TestApprovals(t *testing.T) {
	t.Parallel()
	h := startHeld(t)
	for _, legacy := range []bool{true, false} {
		t.Run(fmt.Sprintf("legacy %t", legacy), func(t *testing.T) {
			h.confirms(t, legacy)
			h.waits(t, legacy)
		})
	}
	t.Run("race", h.race)
	t.Run("command line", h.commandLine)
	t.Run("states", h.states)
	t.Run("node gone", h.nodeGone)
	t.Run("control plane gone", h.planeGone)
}

// confirms is the caller as approver.
func (h *held) confirms(t *testing.T, legacy bool) {
	t.Helper()
	says := func(action mcp.ElicitationResponseAction) by {
		return func(_ context.Context, message string) mcp.ElicitationResponseAction {
			if want := `Run the tool "echo" of "rec" through the gateway "self" (policy "confirm": It costs.)? Arguments: {"message":"hi"}`; message != want {
				t.Errorf("asked %q, want %q", message, want)
			}
			return action
		}
	}
	if r := h.echo(t, legacy, 0, "self", "hi", says(mcp.ElicitationResponseActionAccept)); r.IsError || textOf(r) != "hi" {
		t.Errorf("confirmed: %v", r)
	}
	h.ranOnce(t, "hi")
	for _, action := range []mcp.ElicitationResponseAction{mcp.ElicitationResponseActionDecline, mcp.ElicitationResponseActionCancel} {
		if r := h.echo(t, legacy, 0, "self", "hi", says(action)); !r.IsError || !strings.Contains(textOf(r), "was not confirmed") {
			t.Errorf("%s: %v", action, r)
		}
	}
	if r := h.echo(t, legacy, 0, "self", "hi", nil); !r.IsError || !strings.Contains(textOf(r), "this client cannot ask") {
		t.Errorf("cannot ask: %v", r)
	}
	h.ranNothing(t)
}

// waits is bob as approver.
func (h *held) waits(t *testing.T, legacy bool) {
	t.Helper()
	message := fmt.Sprintf("legacy %t", legacy)
	for _, approve := range []bool{true, false} {
		r := h.echo(t, legacy, 0, "others", message, func(ctx context.Context, text string) mcp.ElicitationResponseAction {
			a := h.pending(t)
			if !strings.Contains(text, "waits for an approval by bob@penstock.test, carol@penstock.test (approval "+a.GetId()) || a.GetArguments() != fmt.Sprintf(`{"message":%q}`, message) {
				t.Errorf("asked %q about %v", text, a)
			}
			if err := h.decide(ctx, h.bob, a.GetId(), approve); err != nil {
				t.Errorf("decide: %v", err)
			}
			return mcp.ElicitationResponseActionAccept
		})
		if approve {
			if r.IsError || textOf(r) != message {
				t.Errorf("approved: %v", r)
			}
			h.ranOnce(t, message)
		} else if !r.IsError || !strings.Contains(textOf(r), "was denied: Because.") {
			t.Errorf("denied: %v", r)
		}
		message += " again"
	}
	// Who cannot be asked comes back, to whatever node.
	message = "later " + message
	if r := h.echo(t, legacy, 0, "others", message, nil); !r.IsError || !strings.Contains(textOf(r), h.pending(t).GetId()) {
		t.Errorf("held: %v", r)
	}
	if r := h.echo(t, legacy, 1, "others", message, nil); !r.IsError || !strings.Contains(textOf(r), h.pending(t).GetId()) {
		t.Errorf("held elsewhere: %v", r)
	}
	h.ranNothing(t)
	if err := h.decide(t.Context(), h.carol, h.pending(t).GetId(), true); err != nil {
		t.Fatal(err)
	}
	if r := h.echo(t, legacy, 0, "others", message+" edited", nil); !r.IsError {
		t.Errorf("edited: %v", r)
	}
	h.ranNothing(t)
	if r := h.echo(t, legacy, 1, "others", message, nil); r.IsError || textOf(r) != message {
		t.Errorf("approved: %v", r)
	}
	h.ranOnce(t, message)
	if err := h.decide(t.Context(), h.carol, h.pending(t).GetId(), false); err != nil { // the edited one
		t.Error(err)
	}
	if r := h.echo(t, legacy, 1, "others", message, nil); !r.IsError || !strings.Contains(textOf(r), h.pending(t).GetId()) {
		t.Errorf("once more: %v", r)
	}
	h.ranNothing(t)
	if err := h.decide(t.Context(), h.carol, h.pending(t).GetId(), false); err != nil {
		t.Error(err)
	}
}

// race has two approvers decide at once, and many clients come back at once.
func (h *held) race(t *testing.T) {
	ada := client(h.Env, h.Nodes[0], "others", h.token)
	if r := resultOf(t, ada.Call(t, "rec__echo", `{"message":"race"}`)); r.Result.StructuredContent.Error.Type != "APPROVAL_REQUIRED" || !r.Result.StructuredContent.Error.Retryable {
		t.Fatalf("held: %+v", r)
	}
	id := h.pending(t).GetId()
	var all sync.WaitGroup
	failed := make([]error, 2)
	for i, who := range []*admin.Client{h.bob, h.carol} {
		all.Go(func() { failed[i] = h.decide(t.Context(), who, id, true) })
	}
	all.Wait()
	if lost := failed[0]; (lost == nil) == (failed[1] == nil) || fault.KindOf(firstOf(failed)) != fault.Precondition {
		t.Errorf("two decided: %v", failed)
	}
	texts := make([]string, 12)
	for i := range texts {
		all.Go(func() {
			r := resultOf(t, client(h.Env, h.Nodes[i%2], "others", h.token).Call(t, "rec__echo", `{ "message": "race" }`))
			if texts[i] = r.text(); !r.Result.IsError {
				texts[i] = "ran"
			}
		})
	}
	all.Wait()
	if n := strings.Count(strings.Join(texts, "\n"), "ran"); n != 1 {
		t.Errorf("%d ran: %q", n, texts)
	}
	h.ranOnce(t, "race")
	if err := h.decide(t.Context(), h.bob, h.pending(t).GetId(), false); err != nil { // what came after it
		t.Error(err)
	}
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// commandLine approves with penstock, while the client waits for the answer.
func (h *held) commandLine(t *testing.T) {
	cli := buildCLI(t)
	state, _ := h.stateless(t, 0, "others", "cli", "")
	command := exec.CommandContext(t.Context(), cli, "approvals", "approve", h.pending(t).GetId())
	command.Env = environment(map[string]string{"PENSTOCK_ADDR": h.AdminURL, "PENSTOCK_TOKEN": h.AdminToken, "HOME": t.TempDir()})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("penstock approvals approve: %v\n%s", err, out)
		}
	}()
	if _, r := h.stateless(t, 0, "others", "cli", back(state, "accept")); r.Result.IsError || r.text() != "cli" {
		t.Errorf("approved: %+v", r)
	}
	<-done
	h.ranOnce(t, "cli")
}

// states is what clients bring back that nobody gave them.
func (h *held) states(t *testing.T) {
	state, _ := h.stateless(t, 0, "self", "one", "")
	for name, bad := range map[string]struct{ gateway, message, more string }{
		"edited":             {"self", "two", back(state, "accept")},
		"of another gateway": {"others", "one", back(state, "accept")},
		"flipped":            {"self", "one", back(state[:len(state)-2]+"xx", "accept")},
		"made up":            {"self", "one", back("s", "accept")},
	} {
		if again, r := h.stateless(t, 0, bad.gateway, bad.message, bad.more); again != "" || r.Error.Code != -32602 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	h.ranNothing(t)
	if _, r := h.stateless(t, 1, "self", "one", back(state, "accept")); r.text() != "one" { // a node that never saw it
		t.Errorf("confirmed elsewhere: %+v", r)
	}
	h.ranOnce(t, "one")
	for node := range h.Nodes {
		if _, r := h.stateless(t, node, "self", "one", back(state, "accept")); r.Result.StructuredContent.Error.Type != "APPROVAL_USED" {
			t.Errorf("replayed: %+v", r)
		}
	}
	h.ranNothing(t)
}

// nodeGone ends the node that a client was asked by.
func (h *held) nodeGone(t *testing.T) {
	confirmed, _ := h.stateless(t, 0, "self", "gone", "")
	waits, _ := h.stateless(t, 0, "others", "gone", "")
	h.Nodes[0].Stop(t)
	defer func() {
		h.Nodes[0].Start(t)
		h.Nodes[0].WaitReady(t)
	}()
	if _, r := h.stateless(t, 1, "self", "gone", back(confirmed, "accept")); r.text() != "gone" {
		t.Errorf("confirmed: %+v", r)
	}
	h.ranOnce(t, "gone")
	if err := h.decide(t.Context(), h.bob, h.pending(t).GetId(), true); err != nil {
		t.Fatal(err)
	}
	if _, r := h.stateless(t, 1, "others", "gone", back(waits, "accept")); r.text() != "gone" {
		t.Errorf("approved: %+v", r)
	}
	h.ranOnce(t, "gone")
}

// planeGone: what needs an approval waits while the control plane is down, and what was approved runs after that.
func (h *held) planeGone(t *testing.T) {
	h.stateless(t, 1, "others", "away", "")
	if err := h.decide(t.Context(), h.bob, h.pending(t).GetId(), true); err != nil {
		t.Fatal(err)
	}
	state, _ := h.stateless(t, 1, "self", "away", "")
	h.ControlPlane.Stop(t)
	for gateway, more := range map[string]string{"others": "", "self": back(state, "accept")} {
		_, r := h.stateless(t, 1, gateway, "away", more)
		if e := r.Result.StructuredContent.Error; e.Type != "APPROVALS_UNAVAILABLE" || !e.Retryable || !strings.Contains(r.text(), "The call did not run") {
			t.Errorf("%s: %+v", gateway, r)
		}
	}
	h.ranNothing(t)
	h.ControlPlane.Start(t)
	h.ControlPlane.WaitReady(t)
	h.WaitEnforced(t)
	testenv.Until(t, "the approved call to run", func() bool {
		_, r := h.stateless(t, 1, "others", "away", "")
		return r.text() == "away"
	})
	h.ranOnce(t, "away")
}
