// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
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
	redis := redistest.Start(t)
	h := &held{Env: testenv.Start(t, testenv.Config{Nodes: 2, TLS: true, Redis: redis.URL(), Forward: true}), server: recorder.Start(t)}
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
	return h.send(t, node, gateway, fmt.Sprintf(`{"name":"rec__echo","arguments":{"message":%q}%s}`, message, more))
}

func (h *held) send(t *testing.T, node int, gateway, params string) (state string, r toolResult) {
	t.Helper()
	q := rawclient.ModernRequest("tools/call", params, nil)
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
