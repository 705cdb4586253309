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
	allow := func(names ...string) func(*catalog.Gateway) {
		return func(g *catalog.Gateway) { g.Extensions = &resource.Extensions{Allowed: names} }
	}
	limited := func(change func(*resource.RateLimit)) func(*catalog.Gateway) {
		return func(g *catalog.Gateway) {
			l := resource.RateLimit{Per: resource.RateLimitPerCaller, ToolCalls: 600, Period: seconds(60)}
			change(&l)
			g.RateLimits = []resource.RateLimit{l}
		}
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
		{"resource_uris", func(g *catalog.Gateway) { g.ResourceURIs = resource.ResourceURIsAlways }, "", ""},
		{"unknown resource_uris", func(g *catalog.Gateway) { g.ResourceURIs = "RESOURCE_URIS_NEVER" }, "invalid INVALID_FIELD", "resource_uris"},
		{"no extensions", func(g *catalog.Gateway) { g.Extensions = &resource.Extensions{} }, "", ""},
		{"extensions", allow("io.modelcontextprotocol/ui", "com.example/a.b-c_d"), "", ""},
		{"extension without prefix", allow("ui"), "invalid INVALID_FIELD", "extensions.allowed[0]"},
		{"extension without name", allow("com.example/"), "invalid INVALID_FIELD", "extensions.allowed[0]"},
		{"extension twice", allow("a.b/c", "a.b/c"), "invalid INVALID_FIELD", "extensions.allowed[1]"},
		{"load tools when needed (G-20)", func(g *catalog.Gateway) { g.LoadToolsWhenNeeded = true }, "", ""},
		{"all extensions", func(g *catalog.Gateway) { g.Extensions = &resource.Extensions{Passthrough: true} }, "", ""},
		{"rate limit", limited(func(l *resource.RateLimit) { l.Burst, l.Tools = 100, []string{"github__*"} }), "", ""},
		{"rate limit per nothing", limited(func(l *resource.RateLimit) { l.Per = "" }), "invalid INVALID_FIELD", "rate_limits[0].per"},
		{"rate limit per moon", limited(func(l *resource.RateLimit) { l.Per = "RATE_LIMIT_PER_MOON" }), "invalid INVALID_FIELD", "rate_limits[0].per"},
		{"rate limit of nothing", limited(func(l *resource.RateLimit) { l.ToolCalls = 0 }), "invalid INVALID_FIELD", "rate_limits[0]"},
		{"rate limit of both", limited(func(l *resource.RateLimit) { l.Requests = 1 }), "invalid INVALID_FIELD", "rate_limits[0]"},
		{"requests of a tool", limited(func(l *resource.RateLimit) { l.Requests, l.ToolCalls, l.Tools = 1, 0, []string{"a__*"} }), "invalid INVALID_FIELD", "rate_limits[0].requests"},
		{
			"requests per server",
			limited(func(l *resource.RateLimit) { l.Requests, l.ToolCalls, l.Per = 1, 0, resource.RateLimitPerServer }),
			"invalid INVALID_FIELD", "rate_limits[0].requests",
		},
		{"rate limit without a period", limited(func(l *resource.RateLimit) { l.Period = nil }), "invalid INVALID_FIELD", "rate_limits[0].period"},
		{"rate limit of half a second", limited(func(l *resource.RateLimit) { l.Period = seconds(0.5) }), "invalid INVALID_FIELD", "rate_limits[0].period"},
		{"rate limit of two days", limited(func(l *resource.RateLimit) { l.Period = seconds(2 * 86400) }), "invalid INVALID_FIELD", "rate_limits[0].period"},
		{"rate limit too high", limited(func(l *resource.RateLimit) { l.Burst = 1_000_000_001 }), "invalid INVALID_FIELD", "rate_limits[0]"},
		{"rate limit without the store", limited(func(l *resource.RateLimit) { l.WhenUnavailable = "HALF" }), "invalid INVALID_FIELD", "rate_limits[0].when_unavailable"},
		{"empty pattern", limited(func(l *resource.RateLimit) { l.Tools = []string{""} }), "invalid INVALID_FIELD", "rate_limits[0].tools[0]"},
		{"pattern twice", limited(func(l *resource.RateLimit) { l.Tools = []string{"a__*", "a__*"} }), "invalid INVALID_FIELD", "rate_limits[0].tools[1]"},
		{
			"the same limit twice",
			func(g *catalog.Gateway) {
				l := resource.RateLimit{Per: resource.RateLimitPerCaller, ToolCalls: 600, Period: seconds(60)}
				lower := l
				lower.ToolCalls = 10
				g.RateLimits = []resource.RateLimit{l, lower}
			},
			"invalid INVALID_FIELD", "rate_limits[1]",
		},
		{"too many rate limits", func(g *catalog.Gateway) {
			for i := range 33 {
				g.RateLimits = append(g.RateLimits, resource.RateLimit{Per: resource.RateLimitPerCaller, ToolCalls: 1, Period: seconds(float64(i + 1))})
			}
		}, "invalid INVALID_FIELD", "rate_limits"},
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
