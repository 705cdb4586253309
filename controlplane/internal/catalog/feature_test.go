// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// shows turns everything of a server on.
func shows(server, connection string) resource.ServerFeature {
	return resource.ServerFeature{Server: server, Pinned: &resource.Pinned{Connection: connection}, Prompts: true, Resources: true, Instructions: true}
}

func showing(name string, v *resource.Visibility, features ...resource.ServerFeature) *catalog.Gateway {
	g := gateway(name, v)
	g.ServerFeatures = features
	return g
}

// What a gateway may show of servers besides tools (M-54), with the path of what is wrong.
func TestServerFeatures(t *testing.T) {
	o := newOrg(t)
	o.standard()
	hidden := server("hidden")
	hidden.Visibility = seenBy("ops")
	o.create(server("other"), hidden, connection("other", "other", everybody()), connection("hidden", "hidden", ownedBy("ops")))
	with := func(change func(*resource.ServerFeature)) resource.ServerFeature {
		f := shows("files", "shared")
		change(&f)
		return f
	}
	const bad, unknown = "invalid INVALID_FIELD", "invalid UNKNOWN_REFERENCE"
	for _, tc := range []struct {
		name, who   string
		gateway     *catalog.Gateway
		want, field string
	}{
		{"all on", "edna", showing("gw", seenBy(), shows("files", "shared")), "", ""},
		{"several", "edna", showing("gw", seenBy(), shows("other", "other"), shows("files", "shared")), "", ""},
		{"instructions alone need no connection", "edna", showing("gw", seenBy(), resource.ServerFeature{Server: "files", Instructions: true}), "", ""},
		{"no connection for prompts", "edna", showing("gw", seenBy(), resource.ServerFeature{Server: "files", Prompts: true}), bad, "server_features[files].pinned"},
		{"no connection for resources", "edna", showing("gw", seenBy(), resource.ServerFeature{Server: "files", Resources: true}), bad, "server_features[files].pinned"},
		{"nothing on", "edna", showing("gw", seenBy(), resource.ServerFeature{Server: "files"}), bad, "server_features[files]"},
		{"no server", "edna", showing("gw", seenBy(), with(func(f *resource.ServerFeature) { f.Server = "" })), bad, "server_features[].server"},
		{"server twice", "edna", showing("gw", seenBy(), shows("files", "shared"), shows("files", "shared")), bad, "server_features[files].server"},
		{"unknown server", "edna", showing("gw", seenBy(), shows("nope", "shared")), unknown, "server_features[nope].server"},
		{"unknown connection", "edna", showing("gw", seenBy(), shows("files", "nope")), unknown, "server_features[files].pinned.connection"},
		{"connection of another server", "edna", showing("gw", seenBy(), shows("files", "other")), "invalid PIN_CONNECTION_OF_OTHER_SERVER", "server_features[files].pinned.connection"},
		{"resolved at the call", "edna", showing("gw", seenBy(), with(func(f *resource.ServerFeature) {
			f.Pinned, f.ResolveAtCallTime = nil, &struct{}{}
		})), "", ""},
		{"pinned and resolved at the call", "edna", showing("gw", seenBy(), with(func(f *resource.ServerFeature) {
			f.ResolveAtCallTime = &struct{}{}
		})), bad, "server_features[files].resolve_at_call_time"},
		{"resolved at the call, of a server the caller does not see (G-18)", "ada", showing("gw", seenBy("eng"), resource.ServerFeature{
			Server: "hidden", Prompts: true, ResolveAtCallTime: &struct{}{},
		}), "denied SERVER_NOT_VISIBLE", "server_features[hidden].server"},
		{"too many", "edna", showing("gw", seenBy(), make([]resource.ServerFeature, 101)...), bad, "server_features"},
		{"a team's connection on everybody's gateway (G-11)", "edna", showing("gw", seenBy(), shows("files", "eng-files")), "invalid PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY", "server_features[files].pinned.connection"},
		{"another team's connection lent (G-11)", "eve", showing("gw", seenBy("eng", "ops"), shows("files", "eng-files")), "denied PIN_TEAM_CONNECTION_LENT", "server_features[files].pinned.connection"},
		{"a server the caller does not see (G-18)", "ada", showing("gw", seenBy("eng"), resource.ServerFeature{Server: "hidden", Instructions: true}), "denied SERVER_NOT_VISIBLE", "server_features[hidden].server"},
		{"passed through, two servers (M-60)", "edna", passedThrough(showing("gw", seenBy(), shows("files", "shared"), shows("other", "other"))), bad, "extensions.passthrough"},
		{"passed through, another server's tool (M-60)", "edna", passedThrough(&catalog.Gateway{
			Meta: named("gw"), Visibility: seenBy(), Tools: []catalog.ToolAssignment{pin("files/read", "shared")}, ServerFeatures: []resource.ServerFeature{shows("other", "other")},
		}), bad, "extensions.passthrough"},
		{"passed through, one server (M-60)", "edna", passedThrough(showing("gw", seenBy(), shows("files", "shared"))), "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as(tc.who), tc.gateway, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

func passedThrough(g *catalog.Gateway) *catalog.Gateway {
	g.Extensions = &resource.Extensions{Passthrough: true}
	return g
}

// A feature is kept as it is written, sorted by server, and one that stays is not checked again (G-11, G-18).
func TestServerFeaturesAfterwards(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(server("a"), connection("a", "a", everybody()))
	o.create(showing("gw", seenBy("eng"), shows("files", "eng-files"), shows("a", "a")))
	g := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	diff(t, "features", []resource.ServerFeature{shows("a", "a"), shows("files", "eng-files")}, g.ServerFeatures)

	_, err := o.Update(t.Context(), o.as("root"), gateway("gw", seenBy()), []string{"visibility"}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid PIN_TEAM_CONNECTION_ON_ORGANIZATION_GATEWAY")
	wantField(t, err, "server_features[files].pinned.connection")

	if _, err := o.Delete(t.Context(), o.as("ada"), catalog.KindConnection, "eng-files", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	g = get[*catalog.Gateway](o, catalog.KindGateway, "gw")
	diff(t, "features after the connection went", 2, len(g.ServerFeatures))
	if reason := conditions(g)["CredentialsResolvable"]; reason != "ConnectionMissing" {
		t.Errorf("condition is %q", reason)
	}
	for _, c := range g.Status.Conditions {
		if c.Type == "CredentialsResolvable" && !strings.Contains(c.Message, "eng-files (server feature files)") {
			t.Errorf("the condition does not name the feature: %s", c.Message)
		}
	}
	g.Etag, g.Description = "", "still there"
	_, err = o.Update(t.Context(), o.as("ada"), g, nil, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	g.ServerFeatures[1].Instructions = false
	_, err = o.Update(t.Context(), o.as("ada"), g, []string{"server_features"}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_REFERENCE")
	_, err = o.Apply(t.Context(), o.as("root"), []catalog.Object{showing("new", seenBy(), shows("a", "a")), server("a")}, catalog.ApplyOptions{Prune: true})
	wantRefusal(t, err, "invalid PIN_CONNECTION_PRUNED", "server_features[a].pinned.connection")
}

// A gateway comes back only with the servers it shows (G-6).
func TestUndeleteServerFeature(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"), showing("gw", seenBy(), resource.ServerFeature{Server: "s", Instructions: true}))
	for _, key := range []catalog.Key{{Kind: catalog.KindGateway, Name: "gw"}, {Kind: catalog.KindServer, Name: "s"}} {
		if _, err := o.Delete(t.Context(), o.as("root"), key.Kind, key.Name, "", catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "gw", catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_REFERENCE")
	wantField(t, err, "server_features[s].server")
	if _, err := o.Undelete(t.Context(), o.as("root"), catalog.KindServer, "s", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = o.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "gw", catalog.WriteOptions{})
	wantRefusal(t, err, "")
}

// learn records a discovery of whatever a server has.
func (o *org) learn(server string, d catalog.Discovery) catalog.DiscoveryOutcome {
	o.t.Helper()
	d.ProtocolVersion = "2025-11-25"
	out, err := o.RecordDiscovery(o.t.Context(), server, d)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

func raw(definitions ...string) [][]byte {
	out := make([][]byte, len(definitions))
	for i, d := range definitions {
		out[i] = []byte(d)
	}
	return out
}

// Prompts of one name are refused where nothing keeps them apart, and shown where they come to clash later (M-62).
func TestPromptClash(t *testing.T) {
	o := newOrg(t)
	for _, name := range []string{"a", "b"} {
		o.create(server(name), connection(name, name, everybody()))
		o.learn(name, catalog.Discovery{Prompts: raw(`{"name":"greet"}`, fmt.Sprintf(`{"name":"only-%s"}`, name))})
	}
	never := showing("gw", seenBy(), shows("a", "a"), shows("b", "b"))
	never.Naming = &resource.Naming{Prefix: resource.NamingNever}
	_, err := o.Create(t.Context(), o.as("edna"), never, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid PROMPT_NAME_CLASH", "greet")
	wantField(t, err, "server_features[a].prompts")
	wantField(t, err, "server_features[b].prompts")

	never.ServerFeatures[1].Prompts = false
	o.create(never)
	never.ServerFeatures[1].Prompts, never.Naming.Prefix = true, resource.NamingOnConflict
	_, err = o.Update(t.Context(), o.as("edna"), never, []string{"server_features", "naming"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")

	o.learn("b", catalog.Discovery{Prompts: raw(`{"name":"other"}`)})
	never.Naming.Prefix = resource.NamingNever
	_, err = o.Update(t.Context(), o.as("edna"), never, []string{"naming"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	before := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))
	o.learn("b", catalog.Discovery{Prompts: raw(`{"name":"greet"}`)})
	after := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))
	diff(t, "condition before and after", []string{"", "PromptNameClash"}, []string{before["PromptNames"], after["PromptNames"]})
	_, err = o.Update(t.Context(), o.as("edna"), &catalog.Gateway{Meta: named("gw"), Description: "x"}, []string{"description"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
}

// What a discovery finds besides tools is kept byte for byte (M-73); what cannot be used is left out and told.
func TestDiscoveryLists(t *testing.T) {
	const prompt = `{ "name": "gr\u0065et", "arguments":[ {"name":"x"} ], "x-big": 9007199254740993 }`
	const template = `{"uriTemplate":"repo://{owner}/{name}", "name":"r"}`
	o := newOrg(t)
	o.create(server("s"))
	o.learn("s", catalog.Discovery{
		Capabilities: []byte(`{"prompts":{ },"resources":{}}`), Authorities: []string{"repo://x"},
		Prompts:   raw(prompt, `{"name":"greet"}`, `[]`, `{"title":"nameless"}`, `{"name":"a\nb"}`, `{"name":"`+strings.Repeat("n", 257)+`"}`, `{"name":"big","x":"`+strings.Repeat("x", 65<<10)+`"}`),
		Templates: raw(template, template, `{"uri":"x:y"}`, `{"uriTemplate":"`+strings.Repeat("u", 2049)+`"}`),
	})
	status := get[*catalog.Server](o, catalog.KindServer, "s").Status
	diff(t, "prompts", []resource.ListedPrompt{{Name: "greet", Definition: []byte(prompt)}}, status.Prompts)
	diff(t, "templates", []resource.ListedTemplate{{URITemplate: "repo://{owner}/{name}", Definition: []byte(template)}}, status.Templates)
	diff(t, "authorities", []string{"repo://x"}, status.ResourceAuthorities)
	diff(t, "capabilities", `{"prompts":{ },"resources":{}}`, string(status.Capabilities))
	for _, part := range []string{"9 definitions cannot be used", "prompt number 2: \"greet\" is there already"} {
		if !strings.Contains(status.LastError, part) {
			t.Errorf("the status says %q; want %q in it", status.LastError, part)
		}
	}
	before := o.head()
	o.learn("s", catalog.Discovery{Capabilities: []byte(`{"prompts":{ },"resources":{}}`), Authorities: []string{"repo://x"}, Prompts: raw(prompt), Templates: raw(template)})
	if o.head() != before {
		t.Error("the same discovery made a revision (D-5)")
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf(`{"name":"p%d"}`, i)
	}
	o.learn("s", catalog.Discovery{Prompts: raw(many...)})
	status = get[*catalog.Server](o, catalog.KindServer, "s").Status
	if len(status.Prompts) != 1000 || !strings.Contains(status.LastError, "1001 and what follows") {
		t.Errorf("%d prompts, status %q", len(status.Prompts), status.LastError)
	}
	for name, bad := range map[string]string{"none": "", "an array": "[]", "too large": `{"x":"` + strings.Repeat("x", 64<<10) + `"}`} {
		o.learn("s", catalog.Discovery{Capabilities: []byte(bad)})
		if got := string(get[*catalog.Server](o, catalog.KindServer, "s").Status.Capabilities); got != "{}" {
			t.Errorf("capabilities that are %s are kept as %.40q", name, got)
		}
	}
}

// Instructions are reviewed as definitions of tools are (M-58, G-16).
func TestDiscoveryInstructions(t *testing.T) {
	for _, tc := range []struct {
		name              string
		changes           resource.ToolChanges
		first, then       string
		accepted, pending string
		waits             bool
	}{
		{"the same", "", "do", "do", "do", "", false},
		{"changed, review is the default", "", "do", "do not", "do", "do not", true},
		{"changed, hold", resource.ToolChangesHold, "do", "do not", "do", "do not", true},
		{"changed, accept", resource.ToolChangesAccept, "do", "do not", "do not", "", false},
		{"new after none", "", "", "do", "", "do", true},
		{"gone", "", "do", "", "do", "", true},
		{"too long", resource.ToolChangesAccept, "", strings.Repeat("é", 9000), strings.Repeat("é", 8192), "", false},
		{"no UTF-8", resource.ToolChangesAccept, "", "a\xff", "a\uFFFD", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			s := server("s")
			s.ToolChanges = tc.changes
			o.create(s)
			o.learn("s", catalog.Discovery{Instructions: tc.first})
			if got := get[*catalog.Server](o, catalog.KindServer, "s").Status; got.Instructions != tc.first || got.PendingInstructionsHash != "" {
				t.Errorf("those of the first discovery are not accepted: %+v", got)
			}
			o.learn("s", catalog.Discovery{Instructions: tc.then})
			got := get[*catalog.Server](o, catalog.KindServer, "s").Status
			diff(t, "accepted", tc.accepted, got.Instructions)
			diff(t, "pending", tc.pending, got.PendingInstructions)
			if waits := got.PendingInstructionsHash != ""; waits != tc.waits {
				t.Errorf("waits %v; want %v", waits, tc.waits)
			}
			o.learn("s", catalog.Discovery{Instructions: tc.accepted})
			if got := get[*catalog.Server](o, catalog.KindServer, "s").Status; got.PendingInstructionsHash != "" || got.PendingInstructions != "" {
				t.Errorf("back as it was, but something waits: %+v", got)
			}
		})
	}
}

func TestAcceptInstructions(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"))
	o.learn("s", catalog.Discovery{Instructions: "do"})
	sum := sha256.Sum256([]byte("do not"))
	pending := hex.EncodeToString(sum[:])
	accept := func(who, name, hash string) error {
		_, err := o.AcceptInstructions(t.Context(), o.as(who), name, hash, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, accept("edna", "s", pending), "precondition NO_PENDING_DEFINITION")
	o.learn("s", catalog.Discovery{Instructions: "do not"})
	for _, tc := range []struct{ name, who, server, hash, want string }{
		{"other instructions", "edna", "s", strings.Repeat("0", 64), "conflict PENDING_DEFINITION_CHANGED"},
		{"unknown server", "edna", "x", pending, "not_found RESOURCE_NOT_FOUND"},
		{"role", "bob", "s", pending, "denied ROLE_REQUIRED"},
		{"accepted", "edna", "s", strings.ToUpper(pending), ""},
		{"accepted twice", "edna", "s", pending, "precondition NO_PENDING_DEFINITION"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantRefusal(t, accept(tc.who, tc.server, tc.hash), tc.want)
			if tc.want != "" {
				return
			}
			got := get[*catalog.Server](o, catalog.KindServer, "s")
			if got.Status.Instructions != "do not" || got.Status.PendingInstructionsHash != "" || got.StreamableHTTP == nil || got.Status.ProtocolVersion != "2025-11-25" {
				t.Errorf("accepted: %+v", got)
			}
		})
	}
}

// A list that a server declares but did not give keeps what was known of it, and the status says so.
func TestDiscoveryMissing(t *testing.T) {
	full := catalog.Discovery{
		Prompts: raw(`{"name":"p"}`), Templates: raw(`{"uriTemplate":"x:{y}"}`), Authorities: []string{"a:", "x:"}, SSE: true,
	}
	for _, tc := range []struct {
		name               string
		missing            []string
		prompts, templates int
		authorities        []string
	}{
		{"nothing: all is gone", nil, 0, 0, []string{"b:", "x:"}},
		{"prompts", []string{"prompts"}, 1, 0, []string{"b:", "x:"}},
		{"resources", []string{"resources"}, 0, 0, []string{"a:", "b:", "x:"}},
		{"templates", []string{"templates"}, 0, 1, []string{"a:", "b:", "x:"}},
		{"all", []string{"prompts", "resources", "templates"}, 1, 1, []string{"a:", "b:", "x:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(server("s"))
			o.learn("s", full)
			o.learn("s", catalog.Discovery{Missing: tc.missing, Authorities: []string{"b:", "x:"}})
			got := get[*catalog.Server](o, catalog.KindServer, "s").Status
			if len(got.Prompts) != tc.prompts || len(got.Templates) != tc.templates || got.SSE {
				t.Errorf("%d prompts, %d templates, SSE %v", len(got.Prompts), len(got.Templates), got.SSE)
			}
			diff(t, "authorities", tc.authorities, got.ResourceAuthorities)
			for _, list := range tc.missing {
				if !strings.Contains(got.LastError, "all "+list) {
					t.Errorf("the status does not name %s: %q", list, got.LastError)
				}
			}
		})
	}
}

// The transport that discovery found is one of that URL only.
func TestDiscoveredTransport(t *testing.T) {
	o := newOrg(t)
	o.create(server("s"), &catalog.Server{Meta: named("e"), SSE: &resource.SSE{URL: "https://e.example.com"}})
	for _, name := range []string{"s", "e"} {
		o.learn(name, catalog.Discovery{SSE: true})
		if got := get[*catalog.Server](o, catalog.KindServer, name).Status.SSE; got != (name == "s") {
			t.Errorf("%s: SSE %v", name, got)
		}
	}
	update := func(change func(*catalog.Server), mask string, want bool) {
		t.Helper()
		s := server("s")
		change(s)
		if _, err := o.Update(t.Context(), o.as("edna"), s, []string{mask}, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := get[*catalog.Server](o, catalog.KindServer, "s").Status; got.SSE != want || got.ProtocolVersion == "" {
			t.Errorf("after a change of %s: %+v", mask, got)
		}
	}
	update(func(s *catalog.Server) { s.Description = "x" }, "description", true)
	update(func(*catalog.Server) {}, "streamable_http", true)
	update(func(s *catalog.Server) { s.StreamableHTTP.URL += "/other" }, "streamable_http", false)
}
