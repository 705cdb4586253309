// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/limit"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// kept is a quota.Store that notes the keys.
type kept struct {
	quota.Store
	keys map[string]bool
}

func (k kept) Take(ctx context.Context, key string, l quota.Limit, n int) (quota.Grant, error) {
	k.keys[key] = true
	return k.Store.Take(ctx, key, l, n)
}

// The cast of the tests, which nobody changes.
//
//nolint:gochecknoglobals // see above
var (
	ada   = ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", TokenID: "t1"}
	ada2  = ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", TokenID: "t2"}
	bob   = ident.Principal{Kind: ident.KindUser, UID: "u2", Name: "bob@example.com", TokenID: "t3"}
	carl  = ident.Principal{Kind: ident.KindUser, UID: "u3", Name: "carl@example.com", TokenID: "t4"}
	team  = ident.Principal{Kind: ident.KindTeam, UID: "g1", Name: "eng", TokenID: "t5"}
	login = ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", TokenID: "jti-1", ClientID: "claude"}
	again = ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", TokenID: "jti-2", ClientID: "claude"}
	other = ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com", TokenID: "jti-3", ClientID: "cursor"}

	read  = &view.Tool{Server: "files", Upstream: "read", Name: "files/read"}
	write = &view.Tool{Server: "files", Upstream: "write", Name: "files/write"}
	issue = &view.Tool{Server: "github", Upstream: "create_issue", Name: "github/create_issue"}
)

func snapshot(g *view.Gateway) *view.Snapshot {
	b := view.From(nil)
	b.PutGateway(g)
	for _, name := range []string{"ada", "bob", "carl"} {
		b.PutUser(name+"@example.com", &view.User{Name: name + "@example.com"})
	}
	b.PutTeam("eng", &view.Team{Name: "eng", UID: "g1", Members: map[string]struct{}{"ada@example.com": {}, "bob@example.com": {}}})
	b.PutTeam("ops", &view.Team{Name: "ops", UID: "g2", Members: map[string]struct{}{"ada@example.com": {}}})
	h := view.NewHolder()
	h.Publish(b.Build("e", 1))
	return h.Load()
}

// TestPer is one row for each way to count together: a step passes or not.
func TestPer(t *testing.T) {
	type step struct {
		who  ident.Principal
		tool *view.Tool // nil for a request
		want bool
	}
	for _, tt := range []struct {
		name  string
		per   compile.RatePer
		steps []step
	}{
		{"gateway", compile.PerGateway, []step{{ada, nil, true}, {bob, nil, true}, {carl, nil, false}, {ada, nil, false}}},
		{"caller", compile.PerCaller, []step{{ada, nil, true}, {ada2, nil, true}, {ada, nil, false}, {bob, nil, true}}},
		{"token", compile.PerToken, []step{
			{ada, nil, true},
			{ada, nil, true},
			{ada, nil, false},
			{ada2, nil, true},
			{login, nil, true},
			{again, nil, true},
			{login, nil, false},
			{other, nil, true},
		}},
		{"team", compile.PerTeam, []step{
			{ada, nil, true}, {team, nil, true}, {bob, nil, false}, {ada, nil, false}, {carl, nil, true}, {carl, nil, true}, {carl, nil, true},
		}},
		{"server", compile.PerServer, []step{{ada, read, true}, {bob, write, true}, {carl, read, false}, {carl, issue, true}}},
		{"tool", compile.PerTool, []step{{ada, read, true}, {bob, read, true}, {carl, read, false}, {carl, write, true}}},
		{"calls of a caller", compile.PerCaller, []step{{ada, read, true}, {ada, issue, true}, {ada, write, false}, {bob, write, true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "gw1"}}
				l := compile.RateLimit{Rule: "gw1/x", Per: tt.per, Amount: 2, Burst: 2, Period: time.Hour}
				g.RequestLimits, g.CallLimits = []compile.RateLimit{l}, []compile.RateLimit{l}
				s := snapshot(g)
				store := kept{quota.NewMemory(0), make(map[string]bool)}
				counter := quota.NewLimiter(quota.Config{Store: store})
				defer counter.Close()
				var told []string
				rates := limit.New(counter, func(_ context.Context, gateway, per string) { told = append(told, gateway+" "+per) })
				refused := 0
				for i, step := range tt.steps {
					var err error
					if step.tool != nil {
						err = rates.Call(t.Context(), s, g, step.who, step.tool)
					} else {
						err = rates.Request(t.Context(), s, g, step.who)
					}
					if (err == nil) != step.want {
						t.Errorf("step %d: %v, want it to pass: %t", i, err, step.want)
					}
					if err == nil {
						continue
					}
					refused++
					f := fault.From(err)
					if f.Kind != fault.Exhausted || f.Reason != limit.ReasonLimited || f.Retry < time.Second || f.Retry > time.Hour || !strings.Contains(f.Public, "Try again in") {
						t.Errorf("step %d: %+v", i, f)
					}
				}
				if want := "eng " + tt.per.String(); len(told) != refused || told[0] != want {
					t.Errorf("told %q, want %d times %q", told, refused, want)
				}
				for k := range store.keys {
					for _, p := range []ident.Principal{ada, team, login} {
						for _, secret := range []string{p.UID, p.Name, p.TokenID, p.ClientID, "files"} {
							if secret != "" && strings.Contains(strings.TrimPrefix(k, "gw1/x"), secret) {
								t.Errorf("the key %q names %q", k, secret)
							}
						}
					}
				}
			})
		})
	}
}

// TestSeveral: all limits have to let a call pass, and one that is refused by a later takes nothing of an earlier.
func TestSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "gw1", CallLimits: []compile.RateLimit{
			{Rule: "gw1/all", Per: compile.PerGateway, Amount: 3, Burst: 3, Period: time.Hour},
			{Rule: "gw1/caller", Per: compile.PerCaller, Amount: 1, Burst: 1, Period: time.Hour},
		}}}
		s := snapshot(g)
		counter := quota.NewLimiter(quota.Config{})
		rates := limit.New(counter, func(context.Context, string, string) {})
		passed := func(p ident.Principal) bool { return rates.Call(t.Context(), s, g, p, read) == nil }
		got := fmt.Sprint(passed(ada), passed(ada), passed(ada), passed(ada), passed(bob), passed(carl), passed(team))
		if want := fmt.Sprint(true, false, false, false, true, true, false); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		rates.Return(t.Context(), s, g, bob, read) // all that it counted
		got = fmt.Sprint(passed(carl), passed(bob), passed(team))
		if want := fmt.Sprint(false, true, false); got != want {
			t.Errorf("after a call was given back: got %s, want %s", got, want)
		}
	})
}

// TestOther: a tool that no pattern fits, and a gateway without limits, are not counted.
func TestOther(t *testing.T) {
	g := &view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "gw1"}}
	counter := quota.NewLimiter(quota.Config{})
	rates := limit.New(counter, func(context.Context, string, string) { t.Error("refused") })
	s := snapshot(g)
	for range 5 {
		if err := rates.Request(t.Context(), s, g, ada); err != nil {
			t.Error(err)
		}
		if err := rates.Call(t.Context(), s, g, ada, read); err != nil {
			t.Error(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = rates.Request(t.Context(), s, g, ada) }); n != 0 {
		t.Errorf("%v allocations without limits", n)
	}
}
