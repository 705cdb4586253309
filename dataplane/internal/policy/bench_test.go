// SPDX-License-Identifier: Apache-2.0

package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/policy"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// BenchmarkDecide is what policies cost a call: P-10 is "50 policies, 3 cover the tool", P-13 has a part in "one policy on arguments".
func BenchmarkDecide(b *testing.B) {
	const when = `args.environment == "prod" && !("sre" in caller.teams)`
	others := func(n int) (list []*resourcev1.Policy) {
		for i := range n {
			list = append(list, &resourcev1.Policy{Name: fmt.Sprintf("other-%d", i), Tools: []string{fmt.Sprintf("server-%d__*", i)}, When: when})
		}
		return list
	}
	these := func(n int) (list []*resourcev1.Policy) {
		for i := range n {
			list = append(list, &resourcev1.Policy{Name: fmt.Sprintf("this-%d", i), Tools: []string{"db__*"}, When: when, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW})
		}
		return list
	}
	for _, bc := range []struct {
		name  string
		rules []*resourcev1.Policy
	}{
		{"no policy", nil},
		{"one policy on arguments", these(1)},
		{"50 policies, 3 cover the tool", append(others(47), these(3)...)},
		{"50 policies, all cover the tool", these(50)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			v := view.From(nil)
			for _, r := range bc.rules {
				r.Action = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
				p, err := compile.MakePolicy(r)
				if err != nil {
					b.Fatal(err)
				}
				v.PutPolicy(r.GetName(), p)
			}
			v.PutUser("ada@example.com", &view.User{Name: "ada@example.com", UID: "u1", Role: "MEMBER"})
			v.PutTeam("eng", &view.Team{Name: "eng", UID: "eng", Members: map[string]struct{}{"ada@example.com": {}}})
			tool := &view.Tool{Exposed: "db__query", Upstream: "query", Name: "db/query", Server: "db", Body: body(`{"name":"query"}`)}
			v.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "g"}, Tools: []*view.Tool{tool}})
			h := view.NewHolder()
			h.Publish(v.Build("e", 1))
			s := h.Load()
			in := policy.Input{
				Snapshot: s, Gateway: s.Gateway("eng"), Tool: tool,
				Caller:    ident.Principal{Kind: ident.KindUser, UID: "u1", Name: "ada@example.com"},
				Arguments: []byte(`{"environment":"prod","query":"SELECT 1","limit":10}`), Time: time.Now(),
			}
			b.ReportAllocs()
			for b.Loop() {
				policy.Decide(&in, quiet{b})
			}
		})
	}
}
