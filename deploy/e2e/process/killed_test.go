// SPDX-License-Identifier: Apache-2.0

package process

import (
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// TestNodeKilled kills one of two nodes (kill -9) under calls that wait for a person, and under clients that have read what is not trusted.
// Their clients go to the other node. A held call runs there once, and as it was approved (G-34); who was to be stopped is stopped (G-33).
func TestNodeKilled(t *testing.T) {
	p := newPair(t)
	for _, scenario := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a session waits for its approver", p.sessionWaits},
		{"a client waits for its approver", p.clientWaits},
		{"a session is asked to confirm", p.sessionConfirms},
		{"a client is asked to confirm", p.clientConfirms},
		{"untrusted", p.untrusted},
	} {
		if !t.Run(scenario.name, scenario.run) {
			return
		}
		p.follow("node-b")
		p.startFirst()
		p.follow("node-a", "node-b")
	}
}

// killed kills node-a under a call in a session.
func (p *pair) killed(t *testing.T, under running) {
	t.Helper()
	p.first.kill()
	if got := under.ends(t); !got.failed || got.text != "" {
		t.Errorf("a call on a node that was killed is answered %s", got.body)
	}
	p.ran(t)
}

func (p *pair) sessionWaits(t *testing.T) {
	a, b := p.at("others", p.ada)
	a.forms, b.forms = true, true
	a, err := a.initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.session = a.session
	call := p.starts(t, a, "session")
	asked, id := call.awaits(t), p.pending()
	if !strings.Contains(asked.text, id) {
		t.Errorf("asked %s, about the approval %s", asked.text, id)
	}
	p.killed(t, call)

	p.edited(t, id, "session edited")
	call = p.starts(t, b, "session")
	if asked = call.awaits(t); !strings.Contains(asked.text, id) || p.pending() != id {
		t.Errorf("elsewhere asked %s, about the approval %s", asked.text, id)
	}
	p.ran(t)
	p.must("approvals", "approve", id)
	if got := call.ends(t); got.failed || got.text != "session" {
		t.Errorf("approved: %s", got.body)
	}
	p.ran(t, "session")
	p.isUsed(t, id, "session")
}

func (p *pair) clientWaits(t *testing.T) {
	a, b := p.at("others", p.ada)
	a.forms, b.forms = true, true
	asked := a.echoes(t, "client", "")
	if asked.state == "" {
		t.Fatalf("it is not held: %s", asked.body)
	}
	id := p.pending()
	if !strings.Contains(asked.body, id) {
		t.Errorf("asked %s, about the approval %s", asked.body, id)
	}
	// The client has said that it waits, when the node dies.
	sent, broken := make(chan struct{}), make(chan error, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
	go func() {
		_, err := a.send(ctx, "tools/call", "rec__echo", map[string]any{
			"name": "rec__echo", "arguments": map[string]any{"message": "client"}, "requestState": asked.state,
			"inputResponses": map[string]any{"approval": map[string]any{"action": "accept"}},
		}, nil)
		broken <- err
	}()
	<-sent
	p.first.kill()
	if err := <-broken; err == nil {
		t.Error("a call on a node that was killed is answered")
	}
	p.ran(t)

	if got := b.echoes(t, "client edited", asked.state); !got.failed || !strings.Contains(got.body, "-32602") {
		t.Errorf("the state of another call: %s", got.body)
	}
	p.edited(t, id, "client edited")
	p.must("approvals", "approve", id)
	if got := b.echoes(t, "client edited", asked.state); !got.failed || !strings.Contains(got.body, "-32602") {
		t.Errorf("the state of another call that is approved: %s", got.body)
	}
	p.ran(t)
	if got := b.echoes(t, "client", asked.state); got.failed || got.text != "client" {
		t.Errorf("approved: %s", got.body)
	}
	p.ran(t, "client")
	p.isUsed(t, id, "client")
}

// edited calls at node-b with other arguments than those that wait for an approval: that is held for itself.
func (p *pair) edited(t *testing.T, id, message string) {
	t.Helper()
	_, b := p.at("others", p.ada)
	got := b.echoes(t, message, "")
	if !got.failed || !strings.Contains(got.body, "APPROVAL_REQUIRED") || strings.Contains(got.body, id) {
		t.Errorf("edited: %s", got.body)
	}
	p.ran(t)
	p.denies(t, id)
}

// denies refuses all approvals that wait but one.
func (p *pair) denies(t *testing.T, but string) {
	t.Helper()
	n := 0
	for _, line := range strings.Split(p.must("approvals"), "\n")[1:] {
		if id := strings.Fields(line)[0]; id != but {
			p.must("approvals", "deny", id)
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d approvals wait besides %s", n, but)
	}
}

// isUsed wants an approval to be used up: the same call is held anew, and does not run.
func (p *pair) isUsed(t *testing.T, id, message string) {
	t.Helper()
	if text := p.must("approvals", "show", id, "-o", "json"); !strings.Contains(text, `"RUN"`) || !strings.Contains(text, `"node-b"`) {
		t.Errorf("the approval is %s", text)
	}
	_, b := p.at("others", p.ada)
	if got := b.echoes(t, message, ""); !got.failed || !strings.Contains(got.body, "APPROVAL_REQUIRED") || strings.Contains(got.body, id) {
		t.Errorf("once more: %s", got.body)
	}
	p.ran(t)
	p.denies(t, id)
}

func (p *pair) sessionConfirms(t *testing.T) {
	a, b := p.at("self", p.ada)
	a.forms, b.forms = true, true
	a, err := a.initialize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.session = a.session
	call := p.starts(t, a, "confirmed")
	call.awaits(t)
	p.killed(t, call)
	call = p.starts(t, b, "confirmed")
	b.accepts(t, call.awaits(t))
	if got := call.ends(t); got.failed || got.text != "confirmed" {
		t.Errorf("confirmed: %s", got.body)
	}
	p.ran(t, "confirmed")
}

func (p *pair) clientConfirms(t *testing.T) {
	a, b := p.at("self", p.ada)
	a.forms, b.forms = true, true
	asked := a.echoes(t, "confirmed", "")
	if asked.state == "" {
		t.Fatalf("it is not held: %s", asked.body)
	}
	p.first.kill()
	if got := b.echoes(t, "edited", asked.state); !got.failed || !strings.Contains(got.body, "-32602") {
		t.Errorf("edited: %s", got.body)
	}
	p.ran(t)
	if got := b.echoes(t, "confirmed", asked.state); got.failed || got.text != "confirmed" {
		t.Errorf("confirmed: %s", got.body)
	}
	if got := b.echoes(t, "confirmed", asked.state); !got.failed || !strings.Contains(got.body, "APPROVAL_USED") {
		t.Errorf("replayed: %s", got.body)
	}
	p.ran(t, "confirmed")
}

// untrusted: what a client has read on node-a stops it on node-b, before and after node-a has died.
func (p *pair) untrusted(t *testing.T) {
	p.pass(time.Hour)
	type client struct{ a, b caller }
	old, plain, other := client{}, client{}, client{}
	old.a, old.b = p.at("track", p.ada)
	plain.a, plain.b = p.at("track", p.ada)
	other.a, other.b = p.at("track", p.carol)
	open := func(c caller) caller {
		t.Helper()
		session, err := c.initialize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
	old.a = open(old.a)
	old.b.session = old.a.session
	wants := func(step string, c caller, message string, refused bool) {
		t.Helper()
		got := c.echoes(t, message, "")
		if got.failed != refused || refused && !strings.Contains(got.text, `The policy "clean" refuses this call.`) {
			t.Errorf("%s: %s", step, got.body)
		}
	}
	for era, c := range map[string]client{"session": old, "stateless": plain} {
		wants(era+", clean", c.a, "pay", false)
		wants(era+", clean, elsewhere", c.b, "pay", false)
		wants(era+", reads", c.a, "web", false)
		wants(era+", elsewhere", c.b, "pay", true)
	}
	p.server.Forget()
	p.first.kill()
	for era, c := range map[string]client{"session": old, "stateless": plain} {
		wants(era+", after a takeover", c.b, "pay", true)
		wants(era+", after a takeover, what no policy concerns", c.b, "free", false)
	}
	p.ran(t, "free", "free")
	wants("somebody else", other.b, "pay", false)
	wants("a session since", open(plain.b), "pay", false)
}
