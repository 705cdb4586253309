// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// links is an authserver that makes links.
type links struct {
	asked []string
	err   error
}

func (l *links) Link(_ context.Context, p ident.Principal, server, gateway, scope string) (string, error) {
	l.asked = append(l.asked, strings.TrimSpace(fmt.Sprint(p.UID, " ", p.ClientID, " ", server, " ", gateway, " ", scope)))
	return "https://auth.example.com/connect/" + fmt.Sprint(len(l.asked)), l.err
}

// The callers of these tests.
func ada() ident.Principal {
	return ident.Principal{Kind: ident.KindUser, UID: "uid-ada", Name: "ada@example.com", ClientID: "cursor"}
}

func team(name string) ident.Principal {
	return ident.Principal{Kind: ident.KindTeam, UID: "uid-" + name, Name: name}
}

// atCall is the gateway "eng", of the teams eng and ops, whose tool, prompt and resources of the server "gh" run with a connection
// that is chosen at the call. Ada is in eng, ops and art.
func atCall(ownOnly bool, connections ...*view.Connection) *view.Snapshot {
	b := view.From(nil)
	b.PutServer("gh", &view.Server{
		Name: "gh", DisplayName: "GitHub", NeedsSecret: true, OwnOnly: ownOnly, Authorities: []string{"repo://x"},
		Capabilities: compile.Capabilities{Prompts: true, Resources: true, Tools: true},
		Prompts:      []compile.Listed{{Name: "p", Body: []byte(`{"name":"p"}`)}},
	})
	members := map[string]struct{}{"ada@example.com": {}}
	for _, name := range []string{"ops", "eng", "art"} {
		b.PutTeam(name, &view.Team{Name: name, UID: "uid-" + name, Members: members})
	}
	for _, c := range connections {
		b.PutConnection(c.Name, c)
	}
	b.PutGateway(&view.Gateway{
		Gateway: compile.Gateway{
			Name: "eng", UID: "uid-eng", Visibility: view.Visibility{Teams: []string{"eng", "ops"}},
			Features: []compile.Feature{{Server: "gh", AtCall: true, Prompts: true, Resources: true}},
		},
		Tools: []*view.Tool{{Exposed: "gh__star", Upstream: "star", Name: "gh/star", Server: "gh", AtCall: true, Body: plain(`{"name":"star"}`)}},
	})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	return h.Load()
}

func installed(name string, kind compile.OwnerKind, owner string) *view.Connection {
	return &view.Connection{Name: name, UID: "uid-" + name, Server: "gh", OwnerKind: kind, Owner: owner, CredentialVersion: "v"}
}

// The connections of these tests.
func own() *view.Connection   { return installed("own", compile.OwnerUser, "ada@example.com") }
func other() *view.Connection { return installed("bobs", compile.OwnerUser, "bob@example.com") }
func shared() *view.Connection {
	return installed("shared", compile.OwnerOrganization, "")
}

func ofTeam(name string) *view.Connection { return installed("of-"+name, compile.OwnerTeam, name) }

func linked(t *testing.T, w *world, l *links) *Dispatcher {
	t.Helper()
	d := newDispatcher(t, w)
	d.Links = l
	return d
}

// penstockError is the object of G-13, with the text beside it.
type penstockError struct {
	Type, Server string
	ConnectURL   string `json:"connect_url"`
	Retryable    bool
	Text         string
}

func problem(t *testing.T, r call.Reply) (e penstockError) {
	t.Helper()
	var result struct {
		IsError           bool `json:"isError"`
		Content           []struct{ Text string }
		StructuredContent struct {
			Error penstockError `json:"penstock_error"`
		} `json:"structuredContent"`
	}
	if r.Result != nil && json.Unmarshal(r.Result, &result) != nil {
		t.Fatalf("reply %s", r.Result)
	}
	if e = result.StructuredContent.Error; len(result.Content) > 0 {
		e.Text = result.Content[0].Text
	}
	if (e.Type != "") != result.IsError {
		t.Errorf("isError is %t in %s", result.IsError, r.Result)
	}
	return e
}

const (
	firstLink = "https://auth.example.com/connect/1"
	showsURL  = `{"elicitation":{"url":{}}}`
)

// EL-1, EL-2, EL-3, 152: how a person is told, by the version and the capabilities of the client.
func TestConnect(t *testing.T) {
	const asks, required, words = "asks", "required", "words"
	for _, tc := range []struct {
		name, method, params string
		version              wire.Version
		capabilities         string
		want                 string
	}{
		{"2025-11-25 (EL-1)", "tools/call", `{"name":"gh__star"}`, wire.V20251125, showsURL, required},
		{"2025-11-25, prompt", "prompts/get", `{"name":"gh__p"}`, wire.V20251125, showsURL, required},
		{"2025-11-25, resource", "resources/read", `{"uri":"repo://x/1"}`, wire.V20251125, showsURL, required},
		{"2025-11-25 without url (152)", "tools/call", `{"name":"gh__star"}`, wire.V20251125, `{"elicitation":{"form":{}}}`, words},
		{"2025-11-25 that declares nothing (152)", "tools/call", `{"name":"gh__star"}`, wire.V20251125, ``, words},
		{"2025-06-18 has no pages (EL-3)", "tools/call", `{"name":"gh__star"}`, wire.V20250618, showsURL, words},
		{"2026-07-28 (EL-2)", "tools/call", `{"name":"gh__star"}`, wire.V20260728, showsURL, asks},
		{"2026-07-28, prompt", "prompts/get", `{"name":"gh__p"}`, wire.V20260728, showsURL, asks},
		{"2026-07-28, resource", "resources/read", `{"uri":"repo://x/1"}`, wire.V20260728, showsURL, asks},
		{"2026-07-28 with {} (EL-2)", "tools/call", `{"name":"gh__star"}`, wire.V20260728, `{}`, words},
		{"2026-07-28 with forms (152)", "tools/call", `{"name":"gh__star"}`, wire.V20260728, `{"elicitation":{}}`, words},
		{"a prompt in words", "prompts/get", `{"name":"gh__p"}`, wire.V20260728, ``, "fault"},
		{"a subscription asks nobody", "resources/subscribe", `{"uri":"repo://x/1"}`, wire.V20251125, showsURL, "fault without link"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, l := caller(atCall(false), tc.version), &links{}
			c.Principal, c.Client.Capabilities = ada(), []byte(tc.capabilities)
			reply, err := linked(t, &world{}, l).Call(t.Context(), c, request(t, tc.method, tc.params), discard)
			text := string(reply.Result) + string(reply.Error)
			switch tc.want {
			case asks:
				want := `{"resultType":"input_required","inputRequests":{"connect":{"method":"elicitation/create","params":{"mode":"url","url":"` + firstLink +
					`","message":"Connect GitHub to go on."}}},"requestState":"pst1.`
				if !strings.HasPrefix(text, want) || strings.Contains(text, "elicitationId") {
					t.Errorf("got %s, want %s…", text, want)
				}
			case required:
				if !strings.HasPrefix(text, `{"code":-32042,"message":`) || !strings.Contains(text, `"data":{"elicitations":[{"mode":"url","elicitationId":"`) ||
					!strings.Contains(text, `"url":"`+firstLink+`","message":"Connect GitHub to go on."}]}`) {
					t.Errorf("got %s", text)
				}
			case words:
				want := penstockError{"CREDENTIAL_MISSING", "gh", firstLink, true, "Connect GitHub: " + firstLink}
				if got := problem(t, reply); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			default:
				f := fault.From(err)
				if err == nil || f.Kind != fault.Unavailable || f.Reason != "CREDENTIAL_MISSING" || strings.Contains(f.Public, firstLink) != (tc.want == "fault") {
					t.Errorf("got %s %v", text, err)
				}
				return
			}
			if err != nil || len(l.asked) != 1 || l.asked[0] != "uid-ada cursor gh eng" {
				t.Errorf("error %v, asked for %q", err, l.asked)
			}
		})
	}
}

// Which faults lead to a link, and for whom (G-13, UP-8, EL-10).
func TestWhoIsLinked(t *testing.T) {
	says := func(reason string) error { return fault.New(fault.Precondition, reason, "It is so.") }
	bare := own()
	bare.CredentialVersion = ""
	machine := ident.Principal{Kind: ident.KindServiceAccount, UID: "ci"}
	for _, tc := range []struct {
		name    string
		p       ident.Principal
		list    []*view.Connection
		missing error // of Resolve
		err     error // of the upstream
		link    error
		want    penstockError
	}{
		{name: "own without a secret", p: ada(), list: []*view.Connection{bare}, want: penstockError{"CREDENTIAL_MISSING", "gh", firstLink, true, "Connect GitHub: " + firstLink}},
		{name: "secret gone", p: ada(), list: []*view.Connection{own()}, missing: says("CREDENTIAL_MISSING"), want: penstockError{"CREDENTIAL_MISSING", "gh", firstLink, true, "Connect GitHub: " + firstLink}},
		{name: "secret unreadable", p: ada(), list: []*view.Connection{own()}, missing: says("CREDENTIAL_UNREADABLE"), want: penstockError{"CREDENTIAL_UNREADABLE", "gh", firstLink, true, "Connect GitHub: " + firstLink}},
		{name: "grant dead (UP-5)", p: ada(), list: []*view.Connection{own()}, missing: says("CREDENTIAL_DEAD"), want: penstockError{"CREDENTIAL_DEAD", "gh", firstLink, true, "Connect GitHub: " + firstLink}},
		{name: "grant of the organisation dead, for a machine", p: machine, list: []*view.Connection{shared()}, missing: says("CREDENTIAL_DEAD"), want: penstockError{"CREDENTIAL_DEAD", "gh", "", false, "It is so."}},
		{name: "authserver away", p: ada(), list: []*view.Connection{own()}, missing: fault.New(fault.Unavailable, "AUTHSERVER_UNAVAILABLE", "Away."), want: penstockError{"AUTHSERVER_UNAVAILABLE", "gh", "", true, "Away."}},
		{name: "authserver away for links", p: ada(), link: fault.New(fault.Unavailable, "AUTHSERVER_UNAVAILABLE", "Away."), want: penstockError{"AUTHSERVER_UNAVAILABLE", "gh", "", true, "Away."}},
		{name: "too many links (EL-11)", p: ada(), link: fault.New(fault.Exhausted, "TOO_MANY_CONNECT_LINKS", "Use one."), want: penstockError{"TOO_MANY_CONNECT_LINKS", "gh", "", true, "Use one."}},
		{name: "401 twice (155, UP-8)", p: ada(), list: []*view.Connection{own()}, err: says("UPSTREAM_UNAUTHORIZED"), want: penstockError{"UPSTREAM_AUTH_FAILED", "gh", firstLink, true, "It is so. Connect GitHub: " + firstLink}},
		{name: "401 twice, for a machine", p: machine, list: []*view.Connection{shared()}, err: says("UPSTREAM_UNAUTHORIZED"), want: penstockError{"UPSTREAM_AUTH_FAILED", "gh", "", false, "It is so."}},
		{name: "403 insufficient_scope (UP-8)", p: ada(), list: []*view.Connection{own()}, err: says("UPSTREAM_INSUFFICIENT_SCOPE"), want: penstockError{"UPSTREAM_INSUFFICIENT_SCOPE", "gh", firstLink, true, "It is so. Connect GitHub: " + firstLink}},
		{name: "the server is down", p: ada(), list: []*view.Connection{own()}, err: fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "Down."), want: penstockError{"UPSTREAM_UNREACHABLE", "gh", "", true, "Down."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := caller(atCall(false, tc.list...), wire.V20250618)
			c.Principal = tc.p
			d := linked(t, &world{missing: tc.missing, err: tc.err}, &links{err: tc.link})
			reply, err := d.Call(t.Context(), c, toolCall(t, "gh__star"), discard)
			if got := problem(t, reply); err != nil || got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

// A pinned connection is mended by connecting the server only where it is the caller's own (G-11, G-13).
func TestPinnedConnections(t *testing.T) {
	bare := own()
	bare.CredentialVersion = ""
	lent := shared()
	lent.CredentialVersion = ""
	for name, want := range map[string]string{"own": firstLink, "shared": ""} {
		s := atCall(false, bare, lent)
		tool := s.Gateway("eng").Tools[0]
		tool.AtCall, tool.Connection = false, name
		c := caller(s, wire.V20250618)
		c.Principal = ada()
		reply, err := linked(t, &world{}, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
		if got := problem(t, reply); err != nil || got.Type != "CREDENTIAL_MISSING" || got.ConnectURL != want {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// Who has no connection of a server without credentials is sent to make one; what such a server refuses nobody can mend.
func TestServerWithoutCredentials(t *testing.T) {
	s := atCall(false)
	s.Server("gh").NeedsSecret = false
	c := caller(s, wire.V20250618)
	c.Principal = ada()
	reply, err := linked(t, &world{}, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
	if got := problem(t, reply); err != nil || got.ConnectURL != firstLink {
		t.Errorf("got %+v, %v", got, err)
	}
	c.Snapshot = atCall(false, own())
	c.Snapshot.Server("gh").NeedsSecret = false
	c.Gateway = c.Snapshot.Gateway("eng")
	w := &world{err: fault.New(fault.Precondition, "UPSTREAM_UNAUTHORIZED", "It is so.")}
	reply, err = linked(t, w, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
	if got := problem(t, reply); err != nil || got != (penstockError{"UPSTREAM_AUTH_FAILED", "gh", "", false, "It is so."}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// retry is a tools/call that comes back with a requestState and what the person said; "" for nothing.
func retry(t *testing.T, tool, arguments, state, action string) call.Call {
	t.Helper()
	params := fmt.Sprintf(`{"requestState":%s,"name":%q,"arguments":%s`, state, tool, arguments)
	if action != "" {
		params += fmt.Sprintf(`,"inputResponses":{"connect":{"action":%q}}`, action)
	}
	return request(t, "tools/call", params+`,"_meta":{"n":1}}`)
}

// EL-7, EL-8, 151: what becomes of a retry.
func TestRetry(t *testing.T) {
	const arguments = `{"n":1}`
	for _, tc := range []struct {
		name      string
		change    func(c *call.Caller)
		state     func(string) string
		arguments string
		action    string
		connected bool
		after     time.Duration
		want      string
	}{
		{name: "connected", action: "accept", connected: true, want: "own"},
		{name: "connected without an answer", connected: true, want: "own"},
		{name: "connected, other white space", arguments: `{ "n": 1 }`, action: "accept", connected: true, want: "own"},
		{name: "said yes and did not (EL-8)", action: "accept", want: "asked again"},
		{name: "declined (EL-8)", action: "decline", want: "CONNECT_DECLINED"},
		{name: "closed the page (EL-8)", action: "cancel", want: "CONNECT_DECLINED"},
		{name: "declined, though connected", action: "decline", connected: true, want: "CONNECT_DECLINED"},
		{name: "a bit flipped (151)", action: "accept", state: func(s string) string { return strings.Replace(s, "61", "60", 1) }, want: "REQUEST_STATE_INVALID"},
		{name: "a state of nobody (151)", action: "accept", state: func(string) string { return `"pst1.x"` }, want: "REQUEST_STATE_INVALID"},
		{name: "a state in another's form (151)", action: "accept", state: func(string) string { return `"x"` }, want: "REQUEST_STATE_INVALID"},
		{name: "another user's (151)", change: func(c *call.Caller) { c.Principal.UID = "uid-bob" }, action: "accept", want: "REQUEST_STATE_INVALID"},
		{name: "another user's, who is connected (151)", change: func(c *call.Caller) { c.Principal.UID = "uid-bob" }, action: "accept", connected: true, want: "REQUEST_STATE_INVALID"},
		{name: "another client's (151)", change: func(c *call.Caller) { c.Principal.ClientID = "other" }, action: "accept", connected: true, want: "REQUEST_STATE_INVALID"},
		{name: "other arguments (151)", arguments: `{"n":2}`, action: "accept", connected: true, want: "REQUEST_STATE_INVALID"},
		{name: "too late (EL-7)", action: "accept", connected: true, after: 10 * time.Minute, want: "REQUEST_STATE_INVALID"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
				d := linked(t, w, &links{})
				c := caller(atCall(false), wire.V20260728)
				c.Principal, c.Client.Capabilities = ada(), []byte(showsURL)
				reply, err := d.Call(t.Context(), c, request(t, "tools/call", `{"name":"gh__star","arguments":`+arguments+`}`), discard)
				if err != nil {
					t.Fatal(err)
				}
				state := string(wire.Get(reply.Result, "requestState"))
				if tc.state != nil {
					state = tc.state(state)
				}
				if tc.connected {
					c.Snapshot = atCall(false, own())
					c.Gateway = c.Snapshot.Gateway("eng")
				}
				if tc.change != nil {
					tc.change(&c)
				}
				if tc.arguments == "" {
					tc.arguments = arguments
				}
				time.Sleep(tc.after)
				reply, err = d.Call(t.Context(), c, retry(t, "gh__star", tc.arguments, state, tc.action), discard)
				switch got := problem(t, reply).Type; {
				case err != nil && (fault.From(err).Reason != tc.want || fault.From(err).Kind != fault.Invalid):
					t.Errorf("got %v, want %s", err, tc.want)
				case err != nil || got == tc.want:
				case tc.want == "asked again":
					if !strings.Contains(string(reply.Result), `"input_required"`) {
						t.Errorf("got %s", reply.Result)
					}
				case len(w.calls) != 1 || w.calls[0].Connection.Name != tc.want:
					t.Errorf("got %s, calls %d, want %s", reply.Result, len(w.calls), tc.want)
				default:
					if o := w.calls[0]; o.State != nil || o.Responses != nil || string(o.Params) != `{"name":"star","arguments":`+tc.arguments+`,"_meta":{"n":1}}` {
						t.Errorf("went up as %s with %s and %s", o.Params, o.State, o.Responses)
					}
				}
			})
		})
	}
}

// EL-8: who says yes and never connects is asked three times, and then told in words.
func TestAskedThreeTimes(t *testing.T) {
	d := linked(t, &world{}, &links{})
	c := caller(atCall(false), wire.V20260728)
	c.Principal, c.Client.Capabilities = ada(), []byte(showsURL)
	reply, err := d.Call(t.Context(), c, toolCall(t, "gh__star"), discard)
	for range 2 {
		if err != nil {
			t.Fatal(err)
		}
		reply, err = d.Call(t.Context(), c, retry(t, "gh__star", `{"n":9007199254740993}`, string(wire.Get(reply.Result, "requestState")), "accept"), discard)
	}
	if err != nil || !strings.Contains(string(reply.Result), `"input_required"`) {
		t.Fatalf("the third time: %s, %v", reply.Result, err)
	}
	reply, err = d.Call(t.Context(), c, retry(t, "gh__star", `{"n":9007199254740993}`, string(wire.Get(reply.Result, "requestState")), "accept"), discard)
	if got := problem(t, reply); err != nil || got.Type != "CREDENTIAL_MISSING" || got.ConnectURL != "https://auth.example.com/connect/4" {
		t.Errorf("got %+v, %v", got, err)
	}
}
