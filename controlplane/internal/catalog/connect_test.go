// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// What is resolved at the call can be, if somebody is connected in a way that calls choose (G-12), or may connect (G-18).
func TestResolvableAtTheCall(t *testing.T) {
	secret := func(c *catalog.Connection) *catalog.Connection {
		c.SecretHeaders = map[string]string{"Authorization": "Bearer x"}
		return c
	}
	ownOnly := func(s *catalog.Server) { s.OwnConnectionsOnly = true }
	for _, tc := range []struct {
		name        string
		server      func(*catalog.Server)
		connections []catalog.Object
		narrow      *resource.Visibility // of the server, afterwards
		gateway     *resource.Visibility
		feature     bool
		want        string // reason
	}{
		{name: "everybody may connect", gateway: seenBy()},
		{name: "everybody may connect, for prompts", gateway: seenBy(), feature: true},
		{name: "members may connect", gateway: seenBy("eng"), narrow: seenBy("eng")},
		{name: "the gateway's owner may connect", gateway: seenBy("bob"), narrow: seenBy("eng")},
		{name: "those who may connect do not reach it", gateway: seenBy("ops"), narrow: seenBy("eng"), want: "NobodyConnected"},
		{name: "the one who may connect is deactivated", gateway: seenBy(), narrow: seenBy("ghost"), want: "NobodyConnected"},
		{name: "its owner may not connect", gateway: seenBy("eve"), narrow: seenBy("eng"), want: "NobodyConnected"},
		{name: "prompts of it", gateway: seenBy("ops"), narrow: seenBy("eng"), feature: true, want: "NobodyConnected"},
		{name: "connected, by the organisation", gateway: seenBy("ops"), narrow: seenBy("eng"), connections: []catalog.Object{secret(connection("c", "files", everybody()))}},
		{name: "connected, by a person", gateway: seenBy("ops"), narrow: seenBy("eng"), connections: []catalog.Object{secret(connection("c", "files", ownedBy("eve")))}},
		{name: "connected without a secret", gateway: seenBy("ops"), narrow: seenBy("eng"), connections: []catalog.Object{connection("c", "files", everybody())}, want: "NobodyConnected"},
		{name: "own ones only", server: ownOnly, gateway: seenBy("ops"), narrow: seenBy("eng"), connections: []catalog.Object{secret(connection("c", "files", everybody()))}, want: "NobodyConnected"},
		{name: "own ones only, and there is one", server: ownOnly, gateway: seenBy("ops"), narrow: seenBy("eng"), connections: []catalog.Object{secret(connection("c", "files", ownedBy("eve")))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			s := secretServer("files")
			if tc.server != nil {
				tc.server(s)
			}
			o.create(s)
			o.discover("files", tool("read"))
			o.create(tc.connections...)
			g := gateway("gw", tc.gateway, atCall("files/read"))
			if tc.feature {
				g.Tools = nil
				g.ServerFeatures = []resource.ServerFeature{{Server: "files", Prompts: true, ResolveAtCallTime: &struct{}{}}}
			}
			o.create(g)
			if tc.narrow != nil {
				s = secretServer("files")
				s.Visibility = tc.narrow
				if _, err := o.Update(t.Context(), o.as("root"), s, []string{"visibility"}, catalog.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if got := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// A gateway's visibility does not matter to what is resolved at the call (G-11, G-12), the server's does (G-18); and who makes a
// connection is not asked who pins it.
func TestWhoMayResolveAtTheCall(t *testing.T) {
	o := newOrg(t)
	o.standard()
	hidden := server("hidden")
	o.create(hidden)
	o.discover("hidden", tool("x"))
	hidden.Visibility = seenBy("ops")
	if _, err := o.Update(t.Context(), o.as("root"), hidden, []string{"visibility"}, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, who, tool string
		visibility      *resource.Visibility
		want            string
	}{
		{"everybody's", "edna", "files/read", seenBy(), ""},
		{"a team's", "ada", "files/read", seenBy("eng"), ""},
		{"a personal one", "bob", "files/read", seenBy("bob"), ""},
		{"a server that is not visible", "ada", "hidden/x", seenBy("eng"), "denied SERVER_NOT_VISIBLE"},
	} {
		_, err := o.Create(t.Context(), o.as(tc.who), gateway("gw", tc.visibility, atCall(tc.tool)), catalog.WriteOptions{ValidateOnly: true})
		if got := refusal(err); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
	o.create(gateway("gw", seenBy("eng"), atCall("files/read")))
	if _, err := o.Update(t.Context(), o.as("root"), gateway("gw", seenBy()), []string{"visibility"}, catalog.WriteOptions{}); err != nil {
		t.Errorf("another visibility: %v", err)
	}
}

// own_connections_only is stored and comes back.
func TestOwnConnectionsOnly(t *testing.T) {
	o := newOrg(t)
	s := server("gh")
	s.OwnConnectionsOnly = true
	o.create(s)
	if !get[*catalog.Server](o, catalog.KindServer, "gh").OwnConnectionsOnly {
		t.Error("it was not stored")
	}
}
