// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Settings of a gateway that break a rule.
func TestGatewayFields(t *testing.T) {
	seconds := func(n float64) *resource.Duration {
		d := resource.Duration(n * float64(time.Second))
		return &d
	}
	o := newOrg(t)
	for _, tc := range []struct {
		name   string
		change func(*catalog.Gateway)
		want   string
		field  string
	}{
		{"fine", func(g *catalog.Gateway) {
			g.MaxStale, g.ListTTL, g.Regions = seconds(60), seconds(0), []string{"eu", "us"}
		}, "", ""},
		{"no visibility", func(g *catalog.Gateway) { g.Visibility = nil }, "invalid INVALID_FIELD", "visibility"},
		{"two visibilities", func(g *catalog.Gateway) { g.Visibility.Team = &resource.TeamVisibility{Teams: []string{"eng"}} }, "invalid INVALID_FIELD", "visibility"},
		{"unknown team", func(g *catalog.Gateway) { g.Visibility = seenBy("nobody") }, "invalid UNKNOWN_REFERENCE", "visibility.team.teams[0]"},
		{"team twice", func(g *catalog.Gateway) { g.Visibility = seenBy("eng", "eng") }, "invalid INVALID_FIELD", "visibility.team.teams[1]"},
		{"no team", func(g *catalog.Gateway) { g.Visibility = &resource.Visibility{Team: &resource.TeamVisibility{}} }, "invalid INVALID_FIELD", "visibility.team.teams"},
		{
			"unknown owner",
			func(g *catalog.Gateway) {
				g.Visibility = &resource.Visibility{Personal: &resource.PersonalVisibility{Owner: "x@example.com"}}
			},
			"invalid UNKNOWN_REFERENCE", "visibility.personal.owner",
		},
		{"name", func(g *catalog.Gateway) { g.Name = "No Slug" }, "invalid INVALID_FIELD", "name"},
		{"naming", func(g *catalog.Gateway) { g.Naming = &resource.Naming{Prefix: "SOMETIMES"} }, "invalid INVALID_FIELD", "naming.prefix"},
		{"region", func(g *catalog.Gateway) { g.Regions = []string{"EU"} }, "invalid INVALID_FIELD", "regions[0]"},
		{"max_stale below 60 s", func(g *catalog.Gateway) { g.MaxStale = seconds(59.9) }, "invalid INVALID_FIELD", "max_stale"},
		{"list_ttl above 300 s", func(g *catalog.Gateway) { g.ListTTL = seconds(301) }, "invalid INVALID_FIELD", "list_ttl"},
		{"load tools when needed", func(g *catalog.Gateway) { g.LoadToolsWhenNeeded = true }, "invalid NOT_ENFORCED_YET", "load_tools_when_needed"},
		{"pass-through headers", func(g *catalog.Gateway) { g.PassthroughHeaders = []string{"x-a"} }, "invalid NOT_ENFORCED_YET", "passthrough_headers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := gateway("gw", seenBy())
			tc.change(g)
			_, err := o.Create(t.Context(), o.as("root"), g, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}
