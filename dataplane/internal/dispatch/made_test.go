// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// made is [atCall] with a server whose credential the authserver makes: for each caller, or for a service account. Its connections
// hold nothing. pinned names the connection that the tool runs with, empty for one that is chosen at the call.
func made(forCaller bool, pinned string, connections ...*view.Connection) *view.Snapshot {
	for _, c := range connections {
		c.CredentialVersion = ""
	}
	s := atCall(false, connections...)
	server := s.Server("gh")
	server.Made, server.CallerOnly = "m_1", forCaller
	if forCaller {
		server.SubjectProvider = "okta"
	}
	if pinned != "" {
		tool := s.Gateway("eng").Tools[0]
		tool.AtCall, tool.Connection = false, pinned
	}
	return s
}

// G-11, G-12, UP-2: whose credential a call runs with, for every kind of caller, where it is made.
func TestWhoseMadeCredential(t *testing.T) {
	const missing, gone, requiresUser = "CREDENTIAL_MISSING", "CONNECTION_MISSING", "CREDENTIAL_REQUIRES_USER"
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
		name, pinned string
		list         func() []*view.Connection
		caller       [4]string // where it is the caller's, by caller
		account      [4]string // where it is a service account's
	}{
		{
			"own", "", func() []*view.Connection { return []*view.Connection{own(), other(), ofTeam("eng"), shared()} },
			[4]string{"own", requiresUser, requiresUser, requiresUser},
			[4]string{"own", "of-eng", "shared", "shared"},
		},
		{
			"organisation", "", func() []*view.Connection { return []*view.Connection{shared()} },
			[4]string{"shared", requiresUser, requiresUser, requiresUser},
			[4]string{"shared", "shared", "shared", "shared"},
		},
		{
			"team", "", func() []*view.Connection { return []*view.Connection{ofTeam("eng")} },
			[4]string{"of-eng", requiresUser, requiresUser, requiresUser},
			[4]string{"of-eng", "of-eng", missing, missing},
		},
		{
			"none", "", func() []*view.Connection { return []*view.Connection{other()} },
			[4]string{missing, requiresUser, requiresUser, requiresUser},
			[4]string{missing, missing, missing, missing},
		},
		{
			"pinned", "shared", func() []*view.Connection { return []*view.Connection{own(), shared()} },
			[4]string{"shared", requiresUser, requiresUser, requiresUser},
			[4]string{"shared", "shared", "shared", "shared"},
		},
		{
			"pinned and deleted", "gone", func() []*view.Connection { return []*view.Connection{own(), shared()} },
			[4]string{gone, requiresUser, requiresUser, requiresUser},
			[4]string{gone, gone, gone, gone},
		},
	} {
		for i, who := range callers {
			for forCaller, want := range map[bool]string{true: tc.caller[i], false: tc.account[i]} {
				t.Run(fmt.Sprintf("%s/%s/the caller's %t", tc.name, who.name, forCaller), func(t *testing.T) {
					w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
					c := caller(made(forCaller, tc.pinned, tc.list()...), wire.V20251125)
					c.Principal = who.p
					reply, err := linked(t, w, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
					if err != nil {
						t.Fatal(err)
					}
					got := problem(t, reply).Type
					if len(w.calls) > 0 {
						got = w.calls[0].Connection.Name
						if want := "uid-" + got + "/" + who.p.UID; w.calls[0].Credential.Key != want {
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

// JW-13: what the caller presented goes along to be exchanged where the server says so, and nowhere else.
func TestPresentedIsSubject(t *testing.T) {
	okta := call.Presented{Token: "presented-canary", Provider: "okta"}
	for _, tc := range []struct {
		name      string
		presented call.Presented
		change    func(*view.Server)
		want      call.Presented
	}{
		{"exchanged", okta, func(*view.Server) {}, okta},
		{"nothing presented", call.Presented{}, func(*view.Server) {}, call.Presented{}},
		{"another provider's", call.Presented{Token: "presented-canary", Provider: "corp"}, func(*view.Server) {}, call.Presented{}},
		{"a server that takes what the login left", okta, func(s *view.Server) { s.SubjectProvider = "" }, call.Presented{}},
		{"a service account", okta, func(s *view.Server) { s.SubjectProvider, s.CallerOnly = "", false }, call.Presented{}},
		{"a stored secret", okta, func(s *view.Server) { s.SubjectProvider, s.CallerOnly, s.Made = "", false, "" }, call.Presented{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
			s := made(true, "", shared())
			s.Connection("shared").CredentialVersion = "v"
			tc.change(s.Server("gh"))
			c := caller(s, wire.V20251125)
			c.Principal, c.Presented = ada(), tc.presented
			if _, err := linked(t, w, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]call.Presented{tc.want}, w.subjects); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			sent := fmt.Sprint(string(w.calls[0].Params), w.calls[0].Credential.Header, w.calls[0].Credential.Env, w.calls[0].Passed)
			if strings.Contains(sent, "canary") || strings.Contains(fmt.Sprintf("%v %+v %#v", c.Presented, c.Presented, c.Presented), "canary") {
				t.Error("what was presented shows")
			}
		})
	}
}

// UP-9, JW-13: a watch is shared only where its credential is, and keeps nothing that was presented.
func TestWatchesOfMadeCredentials(t *testing.T) {
	bob := ident.Principal{Kind: ident.KindUser, UID: "uid-bob", Name: "bob@example.com"}
	for forCaller, want := range map[bool]int{true: 2, false: 1} {
		t.Run(fmt.Sprintf("the caller's %t", forCaller), func(t *testing.T) {
			w := &world{}
			s := made(forCaller, "", shared())
			s.Server("gh").Capabilities.ToolsChanged = true
			d := linked(t, w, &links{})
			var leaves []func()
			for i, p := range []ident.Principal{ada(), bob} {
				c := caller(s, wire.V20251125)
				c.Principal, c.Client.Session, c.Presented = p, "s", call.Presented{Token: "presented-canary", Provider: "okta"}
				leaves = append(leaves, d.Attach(c, func([]byte) {}))
				if i < want {
					await(t, w.watches)
				}
				o, err := w.client.Reach(t.Context(), "shared")
				if err != nil || o.Subject != (call.Presented{}) {
					t.Errorf("the session keeps %v, %v", o, err)
				}
			}
			w.mu.Lock()
			if len(w.watched) != want {
				t.Errorf("%d watches, want %d", len(w.watched), want)
			}
			for _, o := range w.watched {
				if o.Subject != (call.Presented{}) {
					t.Errorf("the watch of %v keeps what was presented", o.Principal)
				}
			}
			deliver := w.watch["gh[]"]
			w.mu.Unlock()
			deliver([]byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`))
			for _, leave := range leaves {
				leave()
			}
			// What is called as the caller is not discovered over a connection that is nobody's own.
			if discovered := slices.Contains(w.changed, "gh/shared"); discovered == forCaller {
				t.Errorf("discovered %v", w.changed)
			}
		})
	}
}

// M-94, JW-13: what was presented here goes to no other node, so the call runs here.
func TestHomeOfPresented(t *testing.T) {
	c := caller(made(true, "", own()), wire.V20251125)
	c.Principal = ada()
	c.Snapshot.Server("gh").Homed = true
	d := linked(t, &world{}, &links{})
	d.Homes = homes{}
	for provider, want := range map[string]string{"": "at uid-own:user:uid-ada", "corp": "at uid-own:user:uid-ada", "okta": ""} {
		c.Presented = call.Presented{Token: "x", Provider: provider}
		if got := d.Home(t.Context(), c, toolCall(t, "gh__star")); got != want {
			t.Errorf("%q: got %q, want %q", provider, got, want)
		}
	}
}

// G-13, UP-8: who gets a link where the credential is made: a person for their own, whatever the connection; nobody for a service
// account, whose faults are an administrator's to mend.
func TestWhoIsLinkedToMade(t *testing.T) {
	const (
		link  = "Connect GitHub: " + firstLink
		admin = " Ask an administrator: all calls of GitHub run as one service account."
	)
	says := func(reason string) error { return fault.New(fault.Precondition, reason, "It is so.") }
	for _, tc := range []struct {
		name         string
		forCaller    bool
		pinned       string
		missing, err error
		want         penstockError
	}{
		{"the caller never logged in there", true, "", says("CREDENTIAL_MISSING"), nil, penstockError{"CREDENTIAL_MISSING", "gh", firstLink, true, link}},
		{"pinned to the organisation's", true, "shared", says("CREDENTIAL_MISSING"), nil, penstockError{"CREDENTIAL_MISSING", "gh", firstLink, true, link}},
		{"the login has ended", true, "shared", says("CREDENTIAL_DEAD"), nil, penstockError{"CREDENTIAL_DEAD", "gh", firstLink, true, link}},
		{"refused twice", true, "shared", nil, says("UPSTREAM_UNAUTHORIZED"), penstockError{"UPSTREAM_AUTH_FAILED", "gh", firstLink, true, "It is so. " + link}},
		{"the exchange is refused", true, "", says("UPSTREAM_CLIENT_REFUSED"), nil, penstockError{"UPSTREAM_CLIENT_REFUSED", "gh", "", false, "It is so."}},
		{"authserver away", true, "", fault.New(fault.Unavailable, "AUTHSERVER_UNAVAILABLE", "Away."), nil, penstockError{"AUTHSERVER_UNAVAILABLE", "gh", "", true, "Away."}},
		{"account without its secret", false, "", says("CREDENTIAL_MISSING"), nil, penstockError{"CREDENTIAL_MISSING", "gh", "", false, "It is so." + admin}},
		{"account that ended", false, "shared", says("CREDENTIAL_DEAD"), nil, penstockError{"CREDENTIAL_DEAD", "gh", "", false, "It is so." + admin}},
		{"account refused twice", false, "", nil, says("UPSTREAM_UNAUTHORIZED"), penstockError{"UPSTREAM_AUTH_FAILED", "gh", "", false, "It is so." + admin}},
		{"account with too few scopes", false, "", nil, says("UPSTREAM_INSUFFICIENT_SCOPE"), penstockError{"UPSTREAM_INSUFFICIENT_SCOPE", "gh", "", false, "It is so." + admin}},
		{"account's client refused", false, "", says("UPSTREAM_CLIENT_REFUSED"), nil, penstockError{"UPSTREAM_CLIENT_REFUSED", "gh", "", false, "It is so."}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := caller(made(tc.forCaller, tc.pinned, shared()), wire.V20250618)
			c.Principal = ada()
			l := &links{}
			reply, err := linked(t, &world{missing: tc.missing, err: tc.err}, l).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
			if got := problem(t, reply); err != nil || got != tc.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tc.want)
			}
			if len(l.asked) > 0 != (tc.want.ConnectURL != "") {
				t.Errorf("asked for %q", l.asked)
			}
		})
	}
	c := caller(made(false, ""), wire.V20260728) // nothing is installed, and nobody can be asked to
	c.Principal, c.Client.Capabilities = ada(), []byte(showsURL)
	reply, err := linked(t, &world{}, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
	want := penstockError{"CREDENTIAL_MISSING", "gh", "", false, `There is no connection of "GitHub" for this tool to run with.` + admin}
	if got := problem(t, reply); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	c = caller(made(true, ""), wire.V20250618)
	c.Principal = team("eng")
	reply, err = linked(t, &world{}, &links{}).Call(t.Context(), c, toolCall(t, "gh__star"), discard)
	want = penstockError{"CREDENTIAL_REQUIRES_USER", "gh", "", false, `This tool runs at "GitHub" as the person who calls it, and this token is nobody's. Call it as a person.`}
	if got := problem(t, reply); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}
