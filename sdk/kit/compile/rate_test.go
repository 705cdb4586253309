// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func gatewayWith(t *testing.T, limits ...*resourcev1.RateLimit) (*compile.Gateway, error) {
	t.Helper()
	return compile.MakeGateway(&resourcev1.Gateway{
		Name: "eng", Uid: "g1", RateLimits: limits,
		Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
	})
}

func TestRateLimitPatterns(t *testing.T) {
	for _, tt := range []struct {
		patterns         []string
		server, upstream string
		want             bool
	}{
		{nil, "github", "create_issue", true},
		{[]string{"*"}, "github", "create_issue", true},
		{[]string{"github__*"}, "github", "create_issue", true},
		{[]string{"github__*"}, "gitlab", "create_issue", false},
		{[]string{"github__*"}, "github-2", "create_issue", false},
		{[]string{"*__create_*"}, "github", "create_issue", true},
		{[]string{"*__create_*"}, "github", "recreate_issue", false},
		{[]string{"*issue"}, "github", "create_issue", true},
		{[]string{"*issue"}, "github", "create_issues", false},
		{[]string{"github__create_issue"}, "github", "create_issue", true},
		{[]string{"github__create_issue"}, "github", "create_issue2", false},
		{[]string{"github__create_issue*"}, "github", "create_issue", true},
		{[]string{"a__b", "c__*"}, "c", "x", true},
		{[]string{"*a*b*c*"}, "xaxb", "xc", true},
		{[]string{"*a*b*c*"}, "xcxb", "xa", false},
		{[]string{"*"}, "a", "", true},
	} {
		g, err := gatewayWith(t, &resourcev1.RateLimit{
			Per: resourcev1.RateLimitPer_RATE_LIMIT_PER_TOOL, ToolCalls: 1, Period: durationpb.New(time.Second), Tools: tt.patterns,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.CallLimits[0].Counts(tt.server, tt.upstream); got != tt.want {
			t.Errorf("%q on %s__%s: %t", tt.patterns, tt.server, tt.upstream, got)
		}
	}
}

// TestRateLimits: numbers may change and the count goes on; what counts together may not.
func TestRateLimits(t *testing.T) {
	base := func() *resourcev1.RateLimit {
		return &resourcev1.RateLimit{
			Per: resourcev1.RateLimitPer_RATE_LIMIT_PER_CALLER, Requests: 10, Period: durationpb.New(time.Minute),
		}
	}
	of := func(change func(*resourcev1.RateLimit)) compile.RateLimit {
		t.Helper()
		r := base()
		change(r)
		g, err := gatewayWith(t, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(g.RequestLimits)+len(g.CallLimits) != 1 {
			t.Fatalf("got %+v and %+v", g.RequestLimits, g.CallLimits)
		}
		return append(g.RequestLimits, g.CallLimits...)[0]
	}
	first := of(func(*resourcev1.RateLimit) {})
	if first.Burst != 10 || first.Amount != 10 || first.Per.String() != "CALLER" || first.Closed {
		t.Errorf("got %+v", first)
	}
	for name, tt := range map[string]struct {
		change func(*resourcev1.RateLimit)
		same   bool
	}{
		"amount": {func(r *resourcev1.RateLimit) { r.Requests = 20 }, true},
		"burst":  {func(r *resourcev1.RateLimit) { r.Burst = 3 }, true},
		"closed": {func(r *resourcev1.RateLimit) {
			r.WhenUnavailable = resourcev1.RateLimitUnavailable_RATE_LIMIT_UNAVAILABLE_CLOSED
		}, true},
		"period": {func(r *resourcev1.RateLimit) { r.Period = durationpb.New(time.Hour) }, false},
		"per":    {func(r *resourcev1.RateLimit) { r.Per = resourcev1.RateLimitPer_RATE_LIMIT_PER_TOKEN }, false},
		"unit":   {func(r *resourcev1.RateLimit) { r.Requests, r.ToolCalls = 0, 10 }, false},
	} {
		if got := of(tt.change); (got.Rule == first.Rule) != tt.same {
			t.Errorf("%s: rule %s after %s", name, got.Rule, first.Rule)
		}
	}
	for name, change := range map[string]func(*resourcev1.RateLimit){
		"unknown per":  func(r *resourcev1.RateLimit) { r.Per = 99 },
		"no per":       func(r *resourcev1.RateLimit) { r.Per = 0 },
		"unknown mode": func(r *resourcev1.RateLimit) { r.WhenUnavailable = 9 },
		"no amount":    func(r *resourcev1.RateLimit) { r.Requests = 0 },
		"no period":    func(r *resourcev1.RateLimit) { r.Period = nil },
	} {
		r := base()
		change(r)
		if _, err := gatewayWith(t, r); fault.From(err) == nil || fault.From(err).Reason != "UNKNOWN_RATE_LIMIT" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
