// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// passing is a gateway with pass-through headers.
func passing(name string, headers []string, tools ...catalog.ToolAssignment) *catalog.Gateway {
	g := gateway(name, seenBy(), tools...)
	g.PassthroughHeaders = headers
	return g
}

// Which headers of clients a gateway may hand on (G-40, G-41).
func TestPassthroughHeaders(t *testing.T) {
	const bad, never = "invalid INVALID_FIELD", "invalid HEADER_NEVER_PASSED"
	many := func(n int) (names []string) {
		for i := range n {
			names = append(names, fmt.Sprintf("x-%02d", i))
		}
		return names
	}
	type row struct {
		name        string
		headers     []string
		want, field string
	}
	rows := []row{
		{"20 (G-40)", many(20), "", ""},
		{"21 (G-40)", many(21), bad, "passthrough_headers"},
		{"any token of RFC 9110 (G-40)", []string{"!#$%&'*+-.^_`|~09az"}, "", ""},
		{"128 characters (G-40)", []string{strings.Repeat("x", 128)}, "", ""},
		{"129 characters (G-40)", []string{strings.Repeat("x", 129)}, bad, "passthrough_headers[" + strings.Repeat("x", 77) + "…]"},
		{"empty (G-40)", []string{""}, bad, "passthrough_headers[]"},
		{"a space (G-40)", []string{"x a"}, bad, "passthrough_headers[x a]"},
		{"a colon (G-40)", []string{"x:"}, bad, "passthrough_headers[x:]"},
		{"beyond ASCII (G-40)", []string{"x-ä"}, bad, "passthrough_headers[x-ä]"},
		{"a line break (G-40)", []string{"x\r\ny"}, bad, "passthrough_headers[x\r\ny]"},
		{"twice in another case (G-40)", []string{"x-a", "X-A"}, bad, "passthrough_headers[x-a]"},
		{"allowed ones", []string{"baggage", "user-agent", "accept-language", "x-request-id", "mcp", "x-forwarded", "penstock"}, "", ""},
	}
	for _, name := range []string{
		"Connection", "keep-alive", "Proxy-Authenticate", "proxy-connection", "TE", "trailer", "transfer-encoding", "upgrade", "Host", "content-length",
		"Authorization", "AUTHORIZATION", "proxy-authorization", "Cookie", "DPoP", "X-Api-Key", "mcp-session-id", "Mcp-Param-Region", "MCP-x", "Forwarded",
		"X-Forwarded-For", "x-forwarded-anything", "X-Real-IP",
		"accept", "accept-encoding", "content-type", "content-encoding", "expect", "last-event-id", "traceparent", "tracestate", "Penstock-Principal",
	} {
		rows = append(rows, row{name + " (G-41, RS-13)", []string{"x-fine", name}, never, "passthrough_headers[" + strings.ToLower(name) + "]"})
	}
	o := newOrg(t)
	for _, tc := range rows {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), passing("gw", tc.headers), catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
	o.create(passing("gw", []string{"X-Tenant", "x-Correlation-ID"}))
	diff(t, "stored (G-40)", []string{"x-correlation-id", "x-tenant"}, get[*catalog.Gateway](o, catalog.KindGateway, "gw").PassthroughHeaders)
}

// secretWith installs a connection that authenticates with a header.
func secretWith(name, server, header string) *catalog.Connection {
	c := connection(name, server, everybody())
	c.SecretHeaders = map[string]string{header: "s3cret"}
	return c
}

// The header of a credential is refused when the gateway is written, and wins when it comes later (G-41, G-42).
func TestPassthroughHeaderOfCredential(t *testing.T) {
	o := newOrg(t)
	fixed := server("fixed")
	fixed.ExtraHeaders = map[string]string{"X-Fixed": "f"}
	o.create(secretServer("keyed"), server("open"), stdioServer("process"), fixed)
	for _, name := range []string{"keyed", "open", "process", "fixed"} {
		o.discover(name, tool("run"))
	}
	env := connection("process", "process", everybody())
	env.SecretEnv = map[string]string{"X_KEY": "s3cret"}
	o.create(secretWith("keyed", "keyed", "X-Key"), secretWith("other", "keyed", "X-Other-Key"), connection("open", "open", everybody()), connection("fixed", "fixed", everybody()), env)
	const refused = "invalid HEADER_OF_CREDENTIAL"
	feature := passing("gw", []string{"x-key"})
	feature.ServerFeatures = []resource.ServerFeature{shows("keyed", "keyed")}
	for _, tc := range []struct {
		name    string
		gateway *catalog.Gateway
		want    string
	}{
		{"of a tool's connection (G-41)", passing("gw", []string{"x-a", "X-KEY"}, pin("open/run", "open"), pin("keyed/run", "keyed")), refused},
		{"of a feature's connection (G-41)", feature, refused},
		{"of a connection that is not on the gateway", passing("gw", []string{"x-key"}, pin("keyed/run", "other")), ""},
		{"of a server that is not on the gateway", passing("gw", []string{"x-key"}, pin("open/run", "open")), ""},
		{"a variable of a process is no header", passing("gw", []string{"x_key"}, pin("process/run", "process")), ""},
		{"a fixed header is no credential (G-42)", passing("gw", []string{"x-fixed"}, pin("fixed/run", "fixed")), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), tc.gateway, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			if tc.want != "" {
				wantField(t, err, "passthrough_headers[x-key]")
				wantRefusal(t, err, tc.want, `the connection "keyed" authenticates with it at the server "keyed"`)
			}
		})
	}
	t.Run("of people's own connections (G-12, G-41)", func(t *testing.T) {
		asking := server("asking")
		asking.Credential = &resource.ServerCredential{StaticHeaders: &resource.StaticHeaders{Names: []string{"X-Mine"}}}
		o.create(asking)
		o.discover("asking", tool("run"))
		chosen := atCall("asking/run")
		_, err := o.Create(t.Context(), o.as("root"), passing("own", []string{"x-mine"}, chosen), catalog.WriteOptions{ValidateOnly: true})
		wantRefusal(t, err, refused, `callers' own connections authenticate with it at the server "asking"`)
		o.create(passing("own", []string{"x-later"}, chosen))
		asking.Credential.StaticHeaders.Names = []string{"X-Later"}
		if _, err := o.Update(t.Context(), o.as("root"), asking, []string{"credential"}, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		g := get[*catalog.Gateway](o, catalog.KindGateway, "own")
		if !slices.ContainsFunc(g.Status.Conditions, func(c resource.Condition) bool {
			return c.Type == "HeaderShadowed" && strings.Contains(c.Message, "x-later (callers' own connections to server asking)")
		}) {
			t.Errorf("conditions are %v", g.Status.Conditions)
		}
		if _, err := o.Update(t.Context(), o.as("root"), passing("own", []string{"x-later"}, chosen), nil, catalog.WriteOptions{}); err != nil {
			t.Errorf("what was there before is refused: %v", err)
		}
	})
	t.Run("in one apply (G-41)", func(t *testing.T) {
		_, err := o.Apply(t.Context(), o.as("root"), []catalog.Object{
			passing("gw", []string{"x-new-key"}, pin("keyed/run", "other")), secretWith("other", "keyed", "X-New-Key"),
		}, catalog.ApplyOptions{})
		wantRefusal(t, err, refused)
	})
	update := func(c catalog.Object, mask ...string) {
		t.Helper()
		if _, err := o.Update(t.Context(), o.as("root"), c, mask, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	has := func(step string, want map[string]string) {
		t.Helper()
		g := get[*catalog.Gateway](o, catalog.KindGateway, "gw")
		for _, kind := range []string{"HeaderShadowed", "StdioWithoutHeaders"} {
			found := ""
			for _, c := range g.Status.Conditions {
				if c.Type == kind {
					found = c.Reason + ": " + c.Message
					if !c.Status {
						t.Errorf("%s: %s is false", step, kind)
					}
				}
			}
			if part := want[kind]; (part == "") != (found == "") || !strings.Contains(found, part) {
				t.Errorf("%s: %s is %q, want %q", step, kind, found, part)
			}
		}
		for _, c := range g.Status.Conditions {
			if c.Type == "Ready" && strings.Contains(c.Message, "Header") {
				t.Errorf("%s: %s", step, c.Message)
			}
		}
	}
	o.create(passing("gw", []string{"x-key", "x-fixed", "x-tenant"}, pin("open/run", "open")))
	has("nothing in the way", nil)
	update(&catalog.Server{Meta: named("open"), ExtraHeaders: map[string]string{"X-Fixed": "f"}}, "extra_headers")
	has("a fixed header came (G-42)", map[string]string{"HeaderShadowed": "CredentialWins: Credentials and fixed headers win over what clients send in these pass-through headers: x-fixed (extra_headers of server open);"})
	update(passing("gw", nil, pin("open/run", "open"), pin("keyed/run", "other"), pin("process/run", "process")), "tools")
	has("a process came (G-42)", map[string]string{"HeaderShadowed": "x-fixed", "StdioWithoutHeaders": "StdioServer: Pass-through headers reach HTTP servers only; these are processes and get none: process."})
	update(secretWith("other", "keyed", "X-Tenant"), "secret_headers")
	has("a credential came (G-42)", map[string]string{"HeaderShadowed": "x-tenant (connection other)", "StdioWithoutHeaders": "process"})
	update(&catalog.Gateway{Meta: named("gw"), Description: "still to be changed"}, "description")
	update(passing("gw", []string{"x-tenant", "x-more"}), "passthrough_headers")
	_, err := o.Update(t.Context(), o.as("root"), passing("gw", nil, pin("open/run", "open"), pin("keyed/run", "keyed")), []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	_, err = o.Update(t.Context(), o.as("root"), passing("gw", []string{"x-tenant", "x-key"}), []string{"passthrough_headers"}, catalog.WriteOptions{})
	wantRefusal(t, err, refused)
	wantField(t, err, "passthrough_headers[x-key]")
	update(passing("gw", nil), "passthrough_headers")
	has("nothing passed", nil)
}
