// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

func TestCreate(t *testing.T) {
	o := newOrg(t)
	s := server("files")
	s.Visibility = nil
	w, err := o.Create(t.Context(), o.as("edna"), s, catalog.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := w.Object.(*catalog.Server)
	if !w.Changed || w.Revision != o.head() || got.UID == "" || len(got.Etag) != 16 || !got.CreateTime.Equal(o.now) || !got.UpdateTime.Equal(o.now) {
		t.Errorf("created %+v at revision %d, changed %v", got.Meta, w.Revision, w.Changed)
	}
	if got.Visibility == nil || got.Visibility.Organization == nil {
		t.Error("a server without visibility is not the organisation's")
	}
	if actor := o.last().Actor; actor != "user:"+o.as("edna").UserUID {
		t.Errorf("the log names %q as the actor", actor)
	}
	_, err = o.Create(t.Context(), o.as("edna"), server("files"), catalog.WriteOptions{})
	wantRefusal(t, err, "already_exists RESOURCE_ALREADY_EXISTS", "server \"files\"")
	if s.UID != "" || s.Visibility != nil {
		t.Error("the caller's own resource was changed")
	}
	_, err = o.Create(t.Context(), o.as("root"), &catalog.Tool{Meta: named("files/x")}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid INVALID_FIELD")
}

func TestValidateOnly(t *testing.T) {
	o := newOrg(t)
	o.standard()
	before := o.head()
	check := func(doing string, w catalog.Written, err error) {
		t.Helper()
		if err != nil || w.Changed || w.Revision != before || w.Object == nil || o.head() != before {
			t.Errorf("%s: %+v, %v; head %d", doing, w, err, o.head())
		}
	}
	opt := catalog.WriteOptions{ValidateOnly: true}
	w, err := o.Create(t.Context(), o.as("root"), gateway("gw", seenBy(), pin("files/read", "shared")), opt)
	check("create", w, err)
	if name := w.Object.(*catalog.Gateway).Tools[0].ResolvedName; name != "files__read" {
		t.Errorf("the tool would be named %q", name)
	}
	w, err = o.Update(t.Context(), o.as("root"), &catalog.Team{Meta: named("eng"), DisplayName: "x"}, nil, opt)
	check("update", w, err)
	w, err = o.Create(t.Context(), o.as("bob"), &catalog.BearerToken{Owner: ownedBy("bob"), AdminAPI: true}, opt)
	check("create token", w, err)
	if w.Token != "" {
		t.Error("a token was minted")
	}
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindConnection, "shared", "", opt); err != nil || o.head() != before {
		t.Errorf("delete: %v, head %d", err, o.head())
	}
}

func TestEtag(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(gateway("gw", seenBy(), pin("files/read", "shared")))
	old := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	same, err := o.Update(t.Context(), o.as("edna"), old, []string{"*"}, catalog.WriteOptions{})
	if err != nil || same.Changed || same.Object.Metadata().Etag != old.Etag {
		t.Errorf("writing what is there: changed %v, etag %q, %v", same.Changed, same.Object.Metadata().Etag, err)
	}
	// The etag of a gateway covers its tools, which are stored apart.
	with := gateway("gw", seenBy(), pin("files/read", "shared"), pin("files/write", "shared"))
	with.Etag = old.Etag
	w, err := o.Update(t.Context(), o.as("edna"), with, []string{"tools"}, catalog.WriteOptions{})
	if err != nil || w.Object.Metadata().Etag == old.Etag {
		t.Errorf("after a change of tools the etag is %q, %v", w.Object.Metadata().Etag, err)
	}
	_, err = o.Update(t.Context(), o.as("edna"), with, []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "conflict ETAG_STALE", "gateway \"gw\"")
	_, err = o.Delete(t.Context(), o.as("edna"), catalog.KindGateway, "gw", old.Etag, catalog.WriteOptions{})
	wantRefusal(t, err, "conflict ETAG_STALE")
	_, err = o.Delete(t.Context(), o.as("edna"), catalog.KindGateway, "gw", w.Object.Metadata().Etag, catalog.WriteOptions{})
	wantRefusal(t, err, "")
}

func TestUpdateMask(t *testing.T) {
	long := resource.Duration(90 * time.Second)
	for _, tc := range []struct {
		name  string
		patch catalog.Object
		mask  []string
		want  string
		text  string
		check func(*catalog.Server) bool
	}{
		{"what is set", &catalog.Server{Meta: named("s"), Description: "new"}, nil, "", "", func(s *catalog.Server) bool {
			return s.Description == "new" && s.DisplayName == "S" && s.Labels["a"] == "1"
		}},
		{"masked and not set", &catalog.Server{Meta: named("s")}, []string{"display_name"}, "", "", func(s *catalog.Server) bool { return s.DisplayName == "" }},
		{"everything", &catalog.Server{Meta: named("s"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://a.example.com"}}, []string{"*"}, "", "", func(s *catalog.Server) bool {
			return s.DisplayName == "" && s.Labels == nil && s.StreamableHTTP.URL == "https://a.example.com" && s.Visibility.Organization != nil
		}},
		{"one level down", &catalog.Server{Meta: named("s"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://b.example.com"}}, []string{"streamable_http.url"}, "", "", func(s *catalog.Server) bool {
			return s.StreamableHTTP.URL == "https://b.example.com"
		}},
		{"one label", &catalog.Server{Meta: catalog.Meta{Name: "s", Labels: map[string]string{"x.y": "2"}}}, []string{"labels.x.y"}, "", "", func(s *catalog.Server) bool {
			return s.Labels["a"] == "1" && s.Labels["x.y"] == "2"
		}},
		{"one label less", &catalog.Server{Meta: named("s")}, []string{"labels.a"}, "", "", func(s *catalog.Server) bool { return len(s.Labels) == 0 }},
		{"the other of a oneof", &catalog.Server{Meta: named("s"), Visibility: seenBy("eng")}, []string{"visibility.team"}, "", "", func(s *catalog.Server) bool {
			return s.Visibility.Organization == nil && s.Visibility.Team.Teams[0] == "eng"
		}},
		{"the other transport", &catalog.Server{Meta: named("s"), Stdio: &resource.Stdio{Command: "x"}}, nil, "", "", func(s *catalog.Server) bool {
			return s.StreamableHTTP == nil && s.Stdio.Command == "x"
		}},
		{"message", &catalog.Server{Meta: named("s"), CallTimeout: &long}, []string{"call_timeout"}, "", "", func(s *catalog.Server) bool {
			return *s.CallTimeout == long
		}},
		{"unknown field", &catalog.Server{Meta: named("s")}, []string{"display_nam"}, "invalid UNKNOWN_FIELD", "did you mean \"display_name\"?", nil},
		{"unknown nested field", &catalog.Server{Meta: named("s")}, []string{"stdio.comand"}, "invalid UNKNOWN_FIELD", "did you mean \"command\"?", nil},
		{"nested field of a text", &catalog.Server{Meta: named("s")}, []string{"display_name.x"}, "invalid UNKNOWN_FIELD", "no fields of its own", nil},
		{"output only is ignored", &catalog.Server{Meta: catalog.Meta{Name: "s", UID: "other"}, Status: &resource.ServerStatus{Tools: 9}}, []string{"status", "uid", "create_time"}, "", "", func(s *catalog.Server) bool {
			return s.Status == nil && s.UID != "other" && s.DisplayName == "S"
		}},
		{"nothing there", &catalog.Server{Meta: named("nothing")}, nil, "not_found RESOURCE_NOT_FOUND", "server \"nothing\"", nil},
		{"several problems", &catalog.Server{Meta: named("s")}, []string{"a", "b"}, "invalid UNKNOWN_FIELD", "; b:", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			s := server("s")
			s.DisplayName, s.Labels = "S", map[string]string{"a": "1"}
			o.create(s)
			w, err := o.Update(t.Context(), o.as("root"), tc.patch, tc.mask, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want, tc.text)
			if tc.check != nil && !tc.check(w.Object.(*catalog.Server)) {
				t.Errorf("updated to %+v", w.Object)
			}
		})
	}
}

func TestImmutable(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(server("other"))
	for _, tc := range []struct {
		name  string
		patch catalog.Object
		mask  []string
		want  string
	}{
		{"server of a connection", connection("shared", "other", nil), nil, "invalid IMMUTABLE_FIELD"},
		{"owner of a connection", connection("shared", "", ownedBy("eng")), []string{"owner"}, "invalid IMMUTABLE_FIELD"},
		{"the same server", connection("shared", "files", everybody()), []string{"server", "owner"}, ""},
		{"everything without them", connection("shared", "", nil), []string{"*"}, ""},
		{"a bearer token", token(everybody(), "x"), nil, "invalid INVALID_FIELD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Update(t.Context(), o.as("root"), tc.patch, tc.mask, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
		})
	}
}

// Servers: what they must be, and what is not enforced yet and so refused.
func TestServerFields(t *testing.T) {
	o := newOrg(t)
	url := func(u string) func(*catalog.Server) {
		return func(s *catalog.Server) { s.StreamableHTTP.URL = u }
	}
	header := func(name, value string) func(*catalog.Server) {
		return func(s *catalog.Server) { s.ExtraHeaders = map[string]string{name: value} }
	}
	sse := func(url, protocol string) func(*catalog.Server) {
		return func(s *catalog.Server) { s.StreamableHTTP, s.SSE, s.Protocol = nil, &resource.SSE{URL: url}, protocol }
	}
	asks := func(names ...string) func(*catalog.Server) {
		return func(s *catalog.Server) {
			s.Credential = &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{Names: names}}
		}
	}
	stdio := func(change func(*resource.Stdio)) func(*catalog.Server) {
		return func(s *catalog.Server) {
			s.StreamableHTTP, s.Stdio = nil, &resource.Stdio{Command: "x"}
			change(s.Stdio)
		}
	}
	const bad, later = "invalid INVALID_FIELD", "invalid NOT_ENFORCED_YET"
	for _, tc := range []struct {
		name, want, field string
		change            func(*catalog.Server)
	}{
		{"http", "", "", url("http://127.0.0.1:3001/mcp?x=1")},
		{"IPv6", "", "", url("http://[::1]:3001/mcp")},
		{"no URL", bad, "streamable_http.url", url("")},
		{"relative", bad, "streamable_http.url", url("/mcp")},
		{"no host", bad, "streamable_http.url", url("http:///mcp")},
		{"other scheme", bad, "streamable_http.url", url("ftp://example.com/")},
		{"user", bad, "streamable_http.url", url("https://u:p@example.com/")},
		{"fragment", bad, "streamable_http.url", url("https://example.com/#x")},
		{"empty fragment", bad, "streamable_http.url", url("https://example.com/#")},
		{"line break", bad, "streamable_http.url", url("https://example.com/\n")},
		{"bad port", bad, "streamable_http.url", url("https://example.com:port/")},
		{"no transport", bad, "transport", func(s *catalog.Server) { s.StreamableHTTP = nil }},
		{"two transports", bad, "transport", func(s *catalog.Server) { s.Stdio = &resource.Stdio{Command: "x"} }},
		{"sse", "", "", sse("https://example.com/sse", "")},
		{"sse without URL", bad, "sse.url", sse("", "")},
		{"sse of a later version (M-6)", "", "", sse("https://example.com/sse", "2025-11-25")},
		{"sse of the version without it", bad, "protocol", sse("https://example.com/sse", "2026-07-28")},
		{"questions", "", "", func(s *catalog.Server) { s.Questions = &resource.Questions{Roots: true} }},
		{"accepting changes", "", "", func(s *catalog.Server) { s.ToolChanges = resource.ToolChangesAccept }},
		{"changes", bad, "tool_changes", func(s *catalog.Server) { s.ToolChanges = "TOOL_CHANGES_IGNORE" }},
		{"affinity of HTTP", "", "", func(s *catalog.Server) { s.Affinity = resource.AffinityNone }},
		{"affinity of stdio", "", "", stdio(func(*resource.Stdio) {})},
		{"other affinity of HTTP", "", "", func(s *catalog.Server) { s.Affinity = resource.AffinityPrincipal }},
		{"other affinity of stdio", "", "", func(s *catalog.Server) {
			s.StreamableHTTP, s.Stdio, s.Affinity = nil, &resource.Stdio{Command: "x"}, resource.AffinityNone
		}},
		{"header", "", "", header("X-Api-Version", "2")},
		{"header that is no token", bad, "extra_headers.x y", header("x y", "2")},
		{"header with a line break", bad, "extra_headers.x", header("x", "a\r\nb: c")},
		{"header with NUL", bad, "extra_headers.x", header("x", "a\x00")},
		{"authorization", bad, "extra_headers.Authorization", header("Authorization", "x")},
		{"cookie", bad, "extra_headers.cookie", header("cookie", "x")},
		{"host", bad, "extra_headers.Host", header("Host", "x")},
		{"content-length", bad, "extra_headers.content-length", header("content-length", "1")},
		{"hop by hop", bad, "extra_headers.transfer-encoding", header("transfer-encoding", "chunked")},
		{"mcp-*", bad, "extra_headers.Mcp-Session-Id", header("Mcp-Session-Id", "x")},
		{"header twice", bad, "extra_headers.x-a", func(s *catalog.Server) { s.ExtraHeaders = map[string]string{"X-A": "1", "x-a": "2"} }},
		{"headers of stdio", bad, "extra_headers", func(s *catalog.Server) {
			s.StreamableHTTP, s.Stdio, s.ExtraHeaders = nil, &resource.Stdio{Command: "x"}, map[string]string{"x": "y"}
		}},
		{"relative command", bad, "stdio.command", stdio(func(s *resource.Stdio) { s.Command = "./x" })},
		{"absolute command", "", "", stdio(func(s *resource.Stdio) { s.Command = "/usr/bin/x" })},
		{"no command", bad, "stdio.command", stdio(func(s *resource.Stdio) { s.Command = "" })},
		{"argument with NUL", bad, "stdio.args[1]", stdio(func(s *resource.Stdio) { s.Args = []string{"a", "b\x00"} })},
		{"variable", bad, "stdio.env.A-B", stdio(func(s *resource.Stdio) { s.Env = map[string]string{"A-B": "x"} })},
		{"headers as credential of stdio", bad, "credential.static_headers", func(s *catalog.Server) {
			s.StreamableHTTP, s.Stdio, s.Credential = nil, &resource.Stdio{Command: "x"}, &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}}
		}},
		{"environment as credential of HTTP", bad, "credential.static_env", func(s *catalog.Server) {
			s.Credential = &resource.ServerCredential{StaticEnv: &struct{}{}}
		}},
		{"two credentials", bad, "credential", func(s *catalog.Server) {
			s.Credential = &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{}, None: &struct{}{}}
		}},
		{"headers that people are asked for", "", "", asks("Authorization", "X-Api-Key")},
		{"a header that is no header", bad, "credential.static_headers.names[0]", asks("X Api Key")},
		{"a header of the transport", bad, "credential.static_headers.names[1]", asks("X-A", "Content-Length")},
		{"a header twice", bad, "credential.static_headers.names[1]", asks("X-A", "x-a")},
		{"21 headers", bad, "credential.static_headers.names", asks(strings.Fields("a b c d e f g h i j k l m n o p q r s t u")...)},
		{"timeout below 1 s", bad, "call_timeout", func(s *catalog.Server) { s.CallTimeout = new(resource.Duration) }},
		{"protocol", bad, "protocol", func(s *catalog.Server) { s.Protocol = "2024-01-01" }},
		{"response cap", bad, "max_response_bytes", func(s *catalog.Server) { s.MaxResponseBytes = 1<<30 + 1 }},
		{"long name", bad, "name", func(s *catalog.Server) { s.Name = strings.Repeat("s", 64) }},
		{"long display name", bad, "display_name", func(s *catalog.Server) { s.DisplayName = strings.Repeat("ü", 129) }},
		{"display name of 128 characters", "", "", func(s *catalog.Server) { s.DisplayName = strings.Repeat("ü", 128) }},
		{"label", bad, "labels", func(s *catalog.Server) { s.Labels = map[string]string{"": "x"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := server("s")
			tc.change(s)
			_, err := o.Create(t.Context(), o.as("root"), s, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

// People: what they must be.
func TestPeopleFields(t *testing.T) {
	o := newOrg(t)
	for _, tc := range []struct {
		name, want, field string
		object            catalog.Object
	}{
		{"capitals become small", "", "", &catalog.User{Meta: named(" New@Example.com ")}},
		{"a name that is taken in other case", "already_exists RESOURCE_ALREADY_EXISTS", "", &catalog.User{Meta: named("ADA@example.com")}},
		{"no e-mail address", "invalid INVALID_FIELD", "name", &catalog.User{Meta: named("ada")}},
		{"slash in it", "invalid INVALID_FIELD", "name", &catalog.User{Meta: named("a/b@example.com")}},
		{"role", "invalid INVALID_FIELD", "role", &catalog.User{Meta: named("new@example.com"), Role: "BOSS"}},
		{"unknown member", "invalid UNKNOWN_REFERENCE", "members[x@example.com].user", &catalog.Team{Meta: named("new"), Members: []resource.TeamMember{{User: "x@example.com"}}}},
		{"member twice", "invalid INVALID_FIELD", "members[ada@example.com].user", &catalog.Team{Meta: named("new"), Members: []resource.TeamMember{{User: mail("ada")}, {User: "Ada@example.com"}}}},
		{"member's role", "invalid INVALID_FIELD", "members[ada@example.com].role", &catalog.Team{Meta: named("new"), Members: []resource.TeamMember{{User: mail("ada"), Role: "BOSS"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := o.Create(t.Context(), o.as("root"), tc.object, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if u, ok := w.Object.(*catalog.User); ok && (u.Name != "new@example.com" || u.Role != catalog.RoleMember) {
				t.Errorf("stored as %q with role %q", u.Name, u.Role)
			}
		})
	}
}

// SC-2: that somebody was deactivated stays to be read by authservers that were away, whatever is done to the user afterwards.
func TestEndTime(t *testing.T) {
	o := newOrg(t)
	put := func(u *catalog.User, mask ...string) *catalog.User {
		t.Helper()
		w, err := o.Update(t.Context(), o.as("root"), u, mask, catalog.WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, ok := w.Object.(*catalog.User)
		if !ok {
			t.Fatalf("got %T", w.Object)
		}
		return got
	}
	bob := func(off bool) *catalog.User { return &catalog.User{Meta: named(mail("bob")), Deactivated: off} }
	var first time.Time
	for _, tt := range []struct {
		name  string
		pass  time.Duration
		user  *catalog.User
		mask  string
		later bool // EndTime is another one, and not before the one of before
	}{
		{"active", 0, bob(false), "deactivated", false},
		{"deactivated", time.Minute, bob(true), "deactivated", true},
		{"deactivated again", time.Minute, bob(true), "deactivated", false},
		{"back", time.Minute, bob(false), "deactivated", false},
		{"changed in another way", time.Minute, &catalog.User{Meta: named(mail("bob")), DisplayName: "Bob"}, "display_name", false},
		{"written whole", time.Minute, bob(false), "*", false},
		{"deactivated by a clock that went back", -time.Hour, bob(true), "deactivated", true},
		{"back once more", time.Minute, bob(false), "deactivated", false},
	} {
		o.now = o.now.Add(tt.pass)
		got := put(tt.user, tt.mask)
		if later := got.EndTime.After(first); later != tt.later || got.EndTime.Before(first) {
			t.Errorf("%s: ended %v after %v", tt.name, got.EndTime, first)
		}
		first = got.EndTime
	}
	if got := put(&catalog.User{Meta: named(mail("eve")), EndTime: o.now}, "end_time"); !got.EndTime.IsZero() {
		t.Errorf("a client has set %v", got.EndTime)
	}
}

// The organisation keeps an ADMIN who can mend it.
func TestLastAdmin(t *testing.T) {
	for _, tc := range []struct {
		name   string
		second bool
		do     func(*org) error
		want   string
	}{
		{"demoted", false, func(o *org) error {
			_, err := o.Update(o.t.Context(), o.as("root"), &catalog.User{Meta: named(mail("root")), Role: catalog.RoleMember}, nil, catalog.WriteOptions{})
			return err
		}, "precondition LAST_ADMIN"},
		{"deactivated", false, func(o *org) error {
			_, err := o.Update(o.t.Context(), o.as("root"), &catalog.User{Meta: named(mail("root")), Deactivated: true}, []string{"deactivated"}, catalog.WriteOptions{})
			return err
		}, "precondition LAST_ADMIN"},
		{"deleted", false, func(o *org) error {
			_, err := o.Delete(o.t.Context(), o.as("root"), catalog.KindUser, mail("root"), "", catalog.WriteOptions{})
			return err
		}, "precondition LAST_ADMIN"},
		{"deleted with another", true, func(o *org) error {
			_, err := o.Delete(o.t.Context(), o.as("root"), catalog.KindUser, mail("root"), "", catalog.WriteOptions{})
			return err
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			if tc.second {
				o.create(&catalog.User{Meta: named("second@example.com"), Role: catalog.RoleAdmin})
			}
			wantRefusal(t, tc.do(o), tc.want)
		})
	}
}
