// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

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
	t.Run("server asks", h.serverAsks)
	t.Run("limited", h.limited)
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
		r := h.echo(t, legacy, 0, "others", message, func(_ context.Context, text string) mcp.ElicitationResponseAction {
			a := h.pending(t)
			if !strings.Contains(text, "waits for an approval by bob@penstock.test or carol@penstock.test (approval "+a.GetId()) || a.GetArguments() != fmt.Sprintf(`{"message":%q}`, message) {
				t.Errorf("asked %q about %v", text, a)
			}
			if err := h.decide(t.Context(), h.bob, a.GetId(), approve); err != nil { // the question may be taken back meanwhile
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
	if (failed[0] == nil) == (failed[1] == nil) || !strings.Contains(fmt.Sprint(failed), "The call was approved by ") {
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

// serverAsks: what an approved call asks its client is answered without another approval, at any node, and once; whatever the server speaks.
func (h *held) serverAsks(t *testing.T) {
	h.Apply(t, "kind: Policy\nname: forms\ngateways: [forms]\naction: REQUIRE_APPROVAL\napprovers: {caller: {}}\n")
	for name, a := range map[string]*asker{"modern": startAsker(t), "legacy": startAsker(t, "2025-11-25")} {
		install(t, h.Env, name, a.url)
		gateway(t, h.Env, "forms", organization, name+"/ask_form")
		token := h.token
		h.token = h.Token(t, testenv.OfUser("ada@penstock.test"), "forms").Text
		h.WaitEnforced(t)
		call := func(node int, state, key string) (string, toolResult) {
			params := `{"name":"` + name + `__ask_form","arguments":{}`
			if state != "" {
				params += fmt.Sprintf(`,"requestState":%q,"inputResponses":{%q:{"action":"accept","content":{"name":"Ada"}}}`, state, key)
			}
			return h.send(t, node, "forms", params+"}")
		}
		key := map[string]string{"modern": "name", "legacy": "q1"}[name]
		asked, r := call(0, "", "")
		if asked == "" {
			t.Fatalf("%s is not held: %+v", name, r)
		}
		form, r := call(0, asked, "approval")
		if form == "" {
			t.Fatalf("%s does not ask: %+v", name, r)
		}
		if next, r := call(0, "asked", key); next != "" || r.Error.Code != -32602 {
			t.Errorf("%s, without the approval: %q %+v", name, next, r)
		}
		if _, r := call(1, form, key); r.Result.IsError || !strings.HasPrefix(r.text(), "accept map[name:Ada]") {
			t.Errorf("%s: %+v", name, r)
		}
		for node := range h.Nodes {
			if _, r := call(node, form, key); r.Error.Code != -32602 {
				t.Errorf("%s, twice: %+v", name, r)
			}
		}
		h.token = token
	}
}

// limited: an approved call that a rate limit refuses keeps its approval, and runs when there is room.
func (h *held) limited(t *testing.T) {
	yaml := gatewayYAML("limited", organization, "rec/echo")
	h.Apply(t, yaml+"rate_limits:\n- {per: GATEWAY, tool_calls: 1, period: 86400s, burst: 1}\n")
	h.Apply(t, "kind: Policy\nname: limited\ngateways: [limited]\nwhen: args.message == 'limited'\naction: REQUIRE_APPROVAL\napprovers: {users: [bob@penstock.test]}\n")
	token := h.token
	defer func() { h.token = token }()
	h.token = h.Token(t, testenv.OfUser("ada@penstock.test"), "limited").Text
	h.WaitEnforced(t)
	h.stateless(t, 0, "limited", "limited", "")
	id := h.pending(t).GetId()
	if err := h.decide(t.Context(), h.bob, id, true); err != nil {
		t.Fatal(err)
	}
	if _, r := h.stateless(t, 1, "limited", "room", ""); r.text() != "room" {
		t.Errorf("the call that takes the room: %+v", r)
	}
	h.ranOnce(t, "room")
	for node := range h.Nodes {
		if _, r := h.stateless(t, node, "limited", "limited", ""); r.Result.StructuredContent.Error.Type != "RATE_LIMITED" {
			t.Errorf("refused: %+v", r)
		}
	}
	if a, err := h.bob.Approvals.GetApproval(t.Context(), &adminv1.GetApprovalRequest{Id: id}); err != nil || a.GetApproval().GetState() != "APPROVED" {
		t.Errorf("the approval is %v, %v", a, err)
	}
	h.ranNothing(t)
	h.Apply(t, yaml+"rate_limits:\n- {per: GATEWAY, tool_calls: 100, period: 1s, burst: 100}\n")
	h.WaitEnforced(t)
	if _, r := h.stateless(t, 0, "limited", "limited", ""); r.text() != "limited" {
		t.Errorf("with room: %+v", r)
	}
	h.ranOnce(t, "limited")
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
