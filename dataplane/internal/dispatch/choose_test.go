// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// G-12, UP-2: whose connection a call runs with, for every kind of caller.
func TestWhoseConnection(t *testing.T) {
	const missing, requiresUser = "CREDENTIAL_MISSING", "CREDENTIAL_REQUIRES_USER" // 154
	callers := []struct {
		name string
		p    ident.Principal
	}{
		{"person", ada()},
		{"team token", team("eng")},
		{"organisation token", ident.Principal{Kind: ident.KindOrganization, UID: ident.OrganizationUID}},
		{"service account", ident.Principal{Kind: ident.KindServiceAccount, UID: "ci", Name: "ada@example.com"}},
	}
	for _, tc := range []struct {
		name    string
		list    []*view.Connection
		want    [4]string // by caller
		ownOnly [4]string // the same, with own_connections_only
	}{
		{
			"own",
			[]*view.Connection{own(), other(), ofTeam("eng"), shared()},
			[4]string{"own", "of-eng", "shared", "shared"},
			[4]string{"own", requiresUser, requiresUser, requiresUser},
		},
		{
			"only own ones",
			[]*view.Connection{own(), other()},
			[4]string{"own", requiresUser, requiresUser, requiresUser},
			[4]string{"own", requiresUser, requiresUser, requiresUser},
		},
		{
			"team",
			[]*view.Connection{other(), ofTeam("eng"), shared()},
			[4]string{"of-eng", "of-eng", "shared", "shared"},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"two teams",
			[]*view.Connection{ofTeam("art"), ofTeam("ops"), shared()},
			[4]string{"of-ops", "shared", "shared", "shared"},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"two teams, both of the gateway",
			[]*view.Connection{ofTeam("ops"), ofTeam("eng"), shared()},
			[4]string{"of-eng", "of-eng", "shared", "shared"},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"only a team",
			[]*view.Connection{other(), ofTeam("eng")},
			[4]string{"of-eng", "of-eng", requiresUser, requiresUser},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"only two teams",
			[]*view.Connection{other(), ofTeam("art"), ofTeam("ops")},
			[4]string{"of-ops", requiresUser, requiresUser, requiresUser},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"organisation",
			[]*view.Connection{shared()},
			[4]string{"shared", "shared", "shared", "shared"},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
		{
			"none",
			[]*view.Connection{other()},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
			[4]string{missing, requiresUser, requiresUser, requiresUser},
		},
	} {
		for i, who := range callers {
			for ownOnly, want := range map[bool]string{false: tc.want[i], true: tc.ownOnly[i]} {
				t.Run(fmt.Sprintf("%s/%s/own only %t", tc.name, who.name, ownOnly), func(t *testing.T) {
					w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
					c := caller(atCall(ownOnly, tc.list...), wire.V20251125)
					c.Principal = who.p
					reply, err := linked(t, w, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
					if err != nil {
						t.Fatal(err)
					}
					got := problem(t, reply).Type
					if len(w.calls) > 0 {
						got = w.calls[0].Connection.Name
						if want := "uid-" + got + "/" + who.p.UID; w.calls[0].Credential.Key != want { // UP-9
							t.Errorf("credential %s, want %s", w.calls[0].Credential.Key, want)
						}
					}
					if got != want {
						t.Errorf("got %s, want %s", got, want)
					}
				})
			}
		}
	}
}

// UP-1: neither arguments nor _meta decide.
func TestArgumentsDoNotChoose(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
	c := caller(atCall(false, own(), other()), wire.V20251125)
	c.Principal = ada()
	k := request(t, "tools/call", `{"name":"gh__star","arguments":{"user":"bob@example.com","connection":"bobs"},"_meta":{"io.penstock/user":"bob@example.com","user":"bob"}}`)
	if _, err := linked(t, w, &links{}).Call(t.Context(), c, k, discard); err != nil || w.calls[0].Connection.Name != "own" {
		t.Errorf("error %v, calls %v", err, w.calls)
	}
}

// M-69, M-71, G-12: lists, watches and listeners of a session follow the caller's connection; over a person's own nothing is
// discovered.
func TestListeningAtCall(t *testing.T) {
	for _, tc := range []struct {
		name    string
		list    []*view.Connection
		over    string // the connection that is listened over; empty for none
		changes []string
	}{
		{"own", []*view.Connection{own(), shared()}, "own", nil},
		{"organisation's", []*view.Connection{shared()}, "shared", []string{"gh/shared", "gh/shared", "gh/shared"}},
		{"none", nil, "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{by: map[string]call.Reply{"gh resources/list": {Result: []byte(`{"resources":[{"uri":"repo://x/1"}]}`)}}}
			d, c := linked(t, w, &links{}), caller(atCall(false, tc.list...), wire.V20251125)
			c.Principal, c.Client.Session = ada(), "s"
			c.Snapshot.Server("gh").Capabilities.ToolsChanged = true
			page, err := d.List(t.Context(), c, "resources/list", nil)
			if want := `{"resources":[{"uri":"repo://x/1"}]}`; err != nil || tc.over != "" && string(page.Result) != want {
				t.Errorf("listed %s, %v", page.Result, err)
			}
			if tc.over == "" && string(page.Meta) != `"io.penstock/partial":["gh"]` {
				t.Errorf("listed %s without a connection, %s", page.Result, page.Meta)
			}
			detach := d.Attach(c, func([]byte) {})
			if tc.over != "" {
				await(t, w.watches)
				w.watch["gh[]"]([]byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`))
				w.attach(tc.over, []byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`))
			}
			for _, name := range []string{"own", "shared", "bobs"} {
				o, err := w.client.Reach(t.Context(), name)
				if may := name == "own" && tc.name == "own" || name == "shared" && tc.list != nil; (err == nil) != may || may && o.Connection.Name != name {
					t.Errorf("reached %s: %v", name, err)
				}
			}
			detach()
			if !slices.Equal(w.changed, tc.changes) {
				t.Errorf("discovered %v, want %v", w.changed, tc.changes)
			}
		})
	}
}

// M-55: a task goes on where it was begun, as long as its caller may use that connection (UP-9).
func TestTasksAtCall(t *testing.T) {
	s := atCall(false, own(), ofTeam("eng"), shared(), other())
	s.Server("gh").Capabilities.Tasks = true
	w := &world{reply: call.Reply{Result: []byte(`{"taskId":"t-1","status":"working"}`)}}
	d, c := linked(t, w, &links{}), caller(s, wire.V20251125)
	c.Principal = ada()
	for name, may := range map[string]bool{"own": true, "of-eng": true, "shared": true, "bobs": false, "gone": false} {
		w.calls = nil
		id := d.names(&c, s.Server("gh"), name).SealTask("t-1")
		_, err := d.Call(t.Context(), c, request(t, "tasks/get", `{"taskId":"`+id+`"}`), discard)
		if (err == nil) != may || may && w.calls[0].Connection.Name != name || !may && fault.From(err).Reason != ReasonUnknownTask {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// M-60, M-94: a method of an extension, and the home of a call, go by the connection that is chosen.
func TestAloneAndHomeAtCall(t *testing.T) {
	w := &world{reply: call.Reply{Result: []byte(`{}`)}}
	d, c := linked(t, w, &links{}), caller(atCall(false, own()), wire.V20251125)
	c.Principal = ada()
	if _, err := d.Call(t.Context(), c, request(t, "x/y", `{}`), discard); err != nil || w.calls[0].Connection.Name != "own" {
		t.Errorf("%v, %v", w.calls, err)
	}
	c.Snapshot.Server("gh").Homed = true
	d.Homes = homes{}
	if got := d.Home(t.Context(), c, toolCall(t, "gh__star")); got != "at uid-own:user:uid-ada" {
		t.Errorf("got %q", got)
	}
}

// homes says where a key lives.
type homes struct{}

func (homes) Of(_ context.Context, key string) string { return "at " + key }
