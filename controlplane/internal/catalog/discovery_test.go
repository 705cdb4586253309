// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// What a discovery does to what is known (G-16), for each of the server's tool_changes.
func TestDiscovery(t *testing.T) {
	const first = `{"name":"read","description":"v1","inputSchema":{"type":"object","x-keep":1}}`
	const spelt = `{ "inputSchema": {"x-keep": 1, "type": "object"}, "description": "v\u0031", "name": "read" }`
	const second = `{"name":"read","description":"v2","annotations":{"readOnlyHint":true}}`
	for _, tc := range []struct {
		name     string
		changes  resource.ToolChanges
		then     []string
		state    resource.ToolState
		served   string
		pending  string
		held     bool
		retry    bool
		outcome  string // of the second discovery
		revision bool   // it makes one
	}{
		{"the same", "", []string{first}, resource.ToolActive, first, "", false, false, "", false},
		{"the same in another spelling", "", []string{spelt}, resource.ToolActive, first, "", false, false, "", false},
		{"changed, review is the default", "", []string{second}, resource.ToolChanged, first, second, false, false, "changed", true},
		{"changed, review", resource.ToolChangesReview, []string{second}, resource.ToolChanged, first, second, false, false, "changed", true},
		{"changed, hold", resource.ToolChangesHold, []string{second}, resource.ToolChanged, first, second, true, false, "changed", true},
		{"changed, accept", resource.ToolChangesAccept, []string{second}, resource.ToolActive, second, "", false, true, "changed", true},
		{"gone", "", nil, resource.ToolRemoved, first, "", false, false, "removed", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			s := server("s")
			s.ToolChanges = tc.changes
			o.create(s)
			out := o.discover("s", first)
			diff(t, "added", []string{"s/read"}, out.Added)
			before := o.head()
			// The number of tools is kept too, so a second tool stays to tell a change from it.
			out = o.discover("s", tc.then...)
			got := map[string][]string{"added": out.Added, "changed": out.Changed, "removed": out.Removed}
			for kind, names := range got {
				want := 0
				if kind == tc.outcome {
					want = 1
				}
				if len(names) != want {
					t.Errorf("%s: %v", kind, names)
				}
			}
			if made := out.Revision > before; made != tc.revision {
				t.Errorf("made a revision: %v; want %v (D-5)", made, tc.revision)
			}
			tool := get[*catalog.Tool](o, catalog.KindTool, "s/read")
			if tool.State != tc.state || tool.Held != tc.held || tool.Retryable != tc.retry {
				t.Errorf("tool is %s, held %v, retryable %v", tool.State, tool.Held, tool.Retryable)
			}
			diff(t, "accepted definition, byte for byte", tc.served, string(tool.Definition))
			diff(t, "pending definition", tc.pending, string(tool.PendingDefinition))
		})
	}
}

// A removed tool that is back, and a changed one that is as before, are active again.
func TestDiscoveryBack(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"))
	o.discover("s", tool("a"), tool("b"))
	out := o.discover("s", `{"name":"a","description":"new"}`)
	diff(t, "outcome", [][]string{nil, {"s/a"}, {"s/b"}}, [][]string{out.Added, out.Changed, out.Removed})
	if out = o.discover("s", `{"name":"a","description":"new"}`); len(out.Removed) > 0 {
		t.Errorf("removed again: %v", out.Removed)
	}
	o.discover("s", tool("a"), tool("b"))
	for _, name := range []string{"s/a", "s/b"} {
		if got := get[*catalog.Tool](o, catalog.KindTool, name); got.State != resource.ToolActive || got.PendingBodyHash != "" {
			t.Errorf("%s is %s", name, got.State)
		}
	}
}

// Adding tools adds nothing to a gateway (G-10), and a definition that cannot be used harms no other.
func TestDiscoveryBad(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"))
	out := o.discover("s", tool("good"), `[]`, `{"description":"no name"}`, `{"name":""}`, `{"name":7}`, tool("good"), `{"NAME":"x"}`,
		tool(strings.Repeat("n", 257)), "{\"name\":\"line\nbreak\"}", `{"name":"tab\there"}`, `{"name":"tail"} {}`, `{"name":"a/b"}`)
	diff(t, "added", []string{"s/a/b", "s/good"}, out.Added)
	status := get[*catalog.Server](o, catalog.KindServer, "s").Status
	if !strings.Contains(status.LastError, "10 definitions cannot be used") || status.Tools != 2 || !status.DiscoverTime.Equal(o.now) {
		t.Errorf("status is %+v", status)
	}
	if status.ProtocolVersion != "2025-11-25" || status.ServerInfo != "example/1.2" {
		t.Errorf("status is %+v", status)
	}
	_, err := o.RecordDiscovery(t.Context(), "nothing", catalog.Discovery{})
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
}

// Failures and times are no revisions (D-5).
func TestDiscoveryFailure(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"), server("never"))
	o.discover("s", tool("x"))
	at, before := o.now, o.head()
	if err := o.RecordDiscoveryFailure(t.Context(), "never", "UPSTREAM_TIMEOUT", "no answer"); err != nil {
		t.Fatal(err)
	}
	if status := get[*catalog.Server](o, catalog.KindServer, "never").Status; status == nil || status.LastError != "UPSTREAM_TIMEOUT: no answer" || !status.DiscoverTime.IsZero() {
		t.Errorf("status of a server that never answered is %+v", status)
	}
	o.now = o.now.Add(time.Hour)
	if err := o.RecordDiscoveryFailure(t.Context(), "s", "UPSTREAM_UNREACHABLE", "connection refused"); err != nil {
		t.Fatal(err)
	}
	status := get[*catalog.Server](o, catalog.KindServer, "s").Status
	if status.LastError != "UPSTREAM_UNREACHABLE: connection refused" || !status.DiscoverTime.Equal(at) || status.Tools != 1 {
		t.Errorf("status is %+v", status)
	}
	o.discover("s", tool("x"))
	if status = get[*catalog.Server](o, catalog.KindServer, "s").Status; status.LastError != "" || !status.DiscoverTime.Equal(o.now) {
		t.Errorf("status after a success is %+v", status)
	}
	if o.head() != before {
		t.Errorf("head is %d after %d", o.head(), before)
	}
}

func TestAcceptTool(t *testing.T) {
	const second = `{"name":"read","annotations":{"idempotentHint":true}}`
	o := newOrg(t)
	s := server("s")
	s.ToolChanges = resource.ToolChangesHold
	o.create(s)
	o.discover("s", tool("read"))
	_, err := o.AcceptTool(t.Context(), o.as("edna"), "s/read", strings.Repeat("0", 64), catalog.WriteOptions{})
	wantRefusal(t, err, "precondition NO_PENDING_DEFINITION")
	o.discover("s", second)
	pending := get[*catalog.Tool](o, catalog.KindTool, "s/read").PendingBodyHash
	for _, tc := range []struct{ name, who, tool, hash, want string }{
		{"another definition", "edna", "s/read", strings.Repeat("0", 64), "conflict PENDING_DEFINITION_CHANGED"},
		{"unknown tool", "edna", "s/x", pending, "not_found RESOURCE_NOT_FOUND"},
		{"role", "bob", "s/read", pending, "denied ROLE_REQUIRED"},
		{"accepted", "edna", "s/read", strings.ToUpper(pending), ""},
		{"accepted twice", "edna", "s/read", pending, "precondition NO_PENDING_DEFINITION"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := o.AcceptTool(t.Context(), o.as(tc.who), tc.tool, tc.hash, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			if tc.want != "" {
				return
			}
			got := w.Object.(*catalog.Tool)
			if got.State != resource.ToolActive || got.Held || got.PendingBodyHash != "" || got.BodyHash != pending || !got.Retryable || string(got.Definition) != second {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
}

// Changing a server's tool_changes holds, or lets go, what waits already.
func TestHold(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"))
	o.discover("s", tool("a"), tool("b"))
	o.discover("s", `{"name":"a","description":"new"}`, tool("b"))
	for _, tc := range []struct {
		changes resource.ToolChanges
		held    bool
	}{{resource.ToolChangesHold, true}, {resource.ToolChangesReview, false}} {
		s := server("s")
		s.ToolChanges = tc.changes
		if _, err := o.Update(t.Context(), o.as("edna"), s, []string{"tool_changes"}, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := get[*catalog.Tool](o, catalog.KindTool, "s/a"); got.Held != tc.held {
			t.Errorf("%s: held %v", tc.changes, got.Held)
		}
		if get[*catalog.Tool](o, catalog.KindTool, "s/b").Held {
			t.Errorf("%s: a tool without change is held", tc.changes)
		}
	}
}

// Which connection a discovery uses: the organisation's, else a team's, else any, with a credential.
func TestDiscoveryTarget(t *testing.T) {
	secret := func(name string, owner *resource.Owner) *catalog.Connection {
		c := connection(name, "s", owner)
		c.SecretHeaders = map[string]string{"X": "y"}
		return c
	}
	for _, tc := range []struct {
		name, who, ask, want, refuse string
		server                       *catalog.Server
		connections                  []catalog.Object
	}{
		{"no credential needed", "edna", "", "", "", server("s"), nil},
		{"no credential needed, one asked for", "edna", "a", "a", "", server("s"), []catalog.Object{connection("a", "s", everybody())}},
		{"the organisation's first", "edna", "", "z", "", secretServer("s"), []catalog.Object{secret("a", ownedBy("edna")), secret("b", ownedBy("eng")), secret("z", everybody())}},
		{"then a team's", "root", "", "b", "", secretServer("s"), []catalog.Object{secret("a", ownedBy("edna")), secret("b", ownedBy("eng")), secret("c", ownedBy("ops"))}},
		{"then any", "root", "", "a", "", secretServer("s"), []catalog.Object{secret("b", ownedBy("edna")), secret("a", ownedBy("bob"))}},
		{"an EDITOR's own, not another's", "edna", "", "b", "", secretServer("s"), []catalog.Object{secret("b", ownedBy("edna")), secret("a", ownedBy("bob"))}},
		{"one with a credential", "edna", "", "b", "", secretServer("s"), []catalog.Object{connection("a", "s", everybody()), secret("b", everybody())}},
		{"none", "edna", "", "", "precondition CREDENTIAL_MISSING", secretServer("s"), nil},
		{"none with a credential", "edna", "a", "", "precondition CREDENTIAL_MISSING", secretServer("s"), []catalog.Object{connection("a", "s", everybody())}},
		{"unknown", "edna", "x", "", "not_found RESOURCE_NOT_FOUND", secretServer("s"), nil},
		{"another user's", "edna", "a", "", "not_found RESOURCE_NOT_FOUND", secretServer("s"), []catalog.Object{secret("a", ownedBy("bob"))}},
		{"role", "bob", "", "", "denied ROLE_REQUIRED", server("s"), nil},
		{"stdio is for an ADMIN (G-7)", "edna", "", "", "denied ROLE_REQUIRED", &catalog.Server{Meta: named("s"), Stdio: &resource.Stdio{Command: "x"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(tc.server)
			o.create(tc.connections...)
			s, c, err := o.DiscoveryTarget(t.Context(), o.as(tc.who), "s", tc.ask)
			wantRefusal(t, err, tc.refuse)
			if tc.refuse == "precondition CREDENTIAL_MISSING" {
				wantRefusal(t, err, tc.refuse, ": penstock server connect s.")
			}
			if tc.refuse != "" {
				return
			}
			name := ""
			if c != nil {
				name = c.Name
			}
			if s.Name != "s" || s.UID == "" || name != tc.want {
				t.Errorf("server %q, connection %q; want %q", s.Name, name, tc.want)
			}
		})
	}
	o := newOrg(t)
	o.standard()
	o.create(server("s"))
	_, _, err := o.DiscoveryTarget(t.Context(), o.as("root"), "s", "shared")
	wantRefusal(t, err, "invalid PIN_CONNECTION_OF_OTHER_SERVER")
}

// Token uses and connection checks are kept to the minute outside the log, and a later one wins.
func TestRecordStatus(t *testing.T) {
	o := newOrg(t)
	o.standard()
	tok := token(ownedBy("bob"), "gw")
	tok.Name = "t"
	o.create(gateway("gw", seenBy()), tok)
	before := o.head()
	minute := o.now.Truncate(time.Minute).Add(5 * time.Minute)
	for i, at := range []time.Time{minute.Add(40 * time.Second), minute.Add(-time.Minute)} {
		err := o.RecordStatus(t.Context(), []catalog.TokenUse{{Token: "t", Time: at}}, []catalog.ConnectionCheck{
			{Connection: "shared", Time: at}, {Connection: "eng-files", Time: at, Reason: fmt.Sprintf("UPSTREAM_UNREACHABLE_%d", i)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := get[*catalog.BearerToken](o, catalog.KindBearerToken, "t").LastUseTime; !got.Equal(minute) {
		t.Errorf("last used %v; want %v", got, minute)
	}
	if got := get[*catalog.Connection](o, catalog.KindConnection, "shared").Status; got == nil || got.State != resource.ConnectionReady {
		t.Errorf("status is %+v", got)
	}
	if got := get[*catalog.Connection](o, catalog.KindConnection, "eng-files").Status; got == nil || got.State != resource.ConnectionUnreachable || got.LastError != "UPSTREAM_UNREACHABLE_1" {
		t.Errorf("status is %+v", got)
	}
	if got := get[*catalog.Connection](o, catalog.KindConnection, "ops-files").Status; got != nil {
		t.Errorf("status of what was never checked is %+v", got)
	}
	if o.head() != before {
		t.Error("status made a revision")
	}
	// A note of an earlier resource of that name says nothing.
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindConnection, "shared", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	o.now = o.now.Add(time.Hour)
	o.create(connection("shared", "files", everybody()))
	if got := get[*catalog.Connection](o, catalog.KindConnection, "shared").Status; got != nil {
		t.Errorf("a new connection has the status %+v", got)
	}
}
