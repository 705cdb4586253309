// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// enforcedCase is one thing that is taken away from the victim. The bystander uses the same gateway all the while.
type enforcedCase struct {
	name string
	take func(t *testing.T, s enforcedScene)
	want want
	// spares says that only the call changes: the victim may still list.
	spares bool
	// shuts says that the gateway is shut to everybody: a new call of the bystander fails, too.
	shuts bool
}

// enforcedScene is a gateway "g<n>" of the teams "victims<n>" and "others<n>".
type enforcedScene struct {
	env     *testenv.Env
	n       int
	gateway string
	victim  string
	token   testenv.Token // of the victim
}

func (s enforcedScene) visibleToTeams(t *testing.T, tools ...string) {
	t.Helper()
	gateway(t, s.env, s.gateway, fmt.Sprintf("{team: {teams: [victims%d, others%d]}}", s.n, s.n), tools...)
}

func enforcedCases() []enforcedCase {
	return []enforcedCase{
		{name: "visibility changed", want: wantAccessDenied(), take: func(t *testing.T, s enforcedScene) {
			gateway(t, s.env, s.gateway, fmt.Sprintf("{team: {teams: [others%d]}}", s.n), "rec/echo", "rec/hold")
		}},
		{name: "assignment removed", want: unknownTool("rec__echo"), spares: true, take: func(t *testing.T, s enforcedScene) {
			s.visibleToTeams(t, "rec/hold")
		}},
		{name: "token revoked", want: wantBadToken(), take: func(t *testing.T, s enforcedScene) { s.env.Revoke(t, s.token) }},
		{name: "team member removed", want: wantAccessDenied(), take: func(t *testing.T, s enforcedScene) {
			s.env.Apply(t, fmt.Sprintf("kind: Team\nname: victims%d\nmembers: []\n", s.n))
		}},
		{name: "user deactivated", want: wantBadToken(), take: func(t *testing.T, s enforcedScene) {
			s.env.Apply(t, "kind: User\nname: "+s.victim+"\ndeactivated: true\n")
		}},
		{name: "gateway disabled", want: wantAccessDenied(), shuts: true, take: func(t *testing.T, s enforcedScene) {
			_, err := s.env.Admin.Gateways.UpdateGateway(t.Context(), &adminv1.UpdateGatewayRequest{
				Gateway:    &resourcev1.Gateway{Name: s.gateway, Disabled: true},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"disabled"}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}},
		{name: "gateway deleted", want: want{http.StatusNotFound, "", noGateway}, shuts: true, take: func(t *testing.T, s enforcedScene) {
			if _, err := s.env.Admin.Gateways.DeleteGateway(t.Context(), &adminv1.DeleteGatewayRequest{Name: s.gateway}); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// TestEnforced takes things away, waits until they are enforced, and checks that every node refuses at once, in both eras,
// while a call that another caller has in flight finishes (G-2, G-6, RS-11, ST-7, D-50).
func TestEnforced(t *testing.T) {
	env := testenv.Start(t, testenv.Config{Nodes: 2, TLS: true})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	cases := enforcedCases()
	for n, tc := range cases {
		t.Run(tc.name, func(t *testing.T) { checkEnforced(t, env, upstream, n, tc) })
	}
	t.Run("node away", func(t *testing.T) { checkAway(t, env) })
}

// checkAway takes a token away while one node is gone. What is enforced is never claimed of it, and it obeys once it is back (D-52).
func checkAway(t *testing.T, env *testenv.Env) {
	t.Helper()
	gateway(t, env, "away", organization, "rec/echo")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "away")
	env.WaitEnforced(t)
	here, away := env.Nodes[0], env.Nodes[1]
	works(t, "before", client(env, away, "away", token.Text).Call(t, "rec__echo", `{"message":"hello"}`), "hello")
	away.Stop(t)
	env.Revoke(t, token)
	got, err := env.Admin.Configuration.WaitEnforced(t.Context(), &adminv1.WaitEnforcedRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !got.GetEnforced() || !slices.Equal(got.GetEnforcingNodes(), []string{here.Name}) || !slices.Equal(got.GetDisconnectedNodes(), []string{away.Name}) {
		t.Errorf("with %s away: %v", away.Name, got)
	}
	wantBadToken().check(t, here.Name, client(env, here, "away", token.Text).Modern(t, "tools/call", callEcho, nil))
	away.Start(t)
	env.WaitEnforced(t)
	wantBadToken().check(t, away.Name, client(env, away, "away", token.Text).Modern(t, "tools/call", callEcho, nil))
}

func checkEnforced(t *testing.T, env *testenv.Env, upstream *recorder.Server, n int, tc enforcedCase) {
	t.Helper()
	s := enforcedScene{env: env, n: n, gateway: fmt.Sprintf("g%d", n), victim: fmt.Sprintf("victim%d@penstock.test", n)}
	bystander := fmt.Sprintf("bystander%d@penstock.test", n)
	env.Apply(t, users(s.victim, bystander)+fmt.Sprintf(`
---
kind: Team
name: victims%[1]d
members: [{user: %[2]s}]
---
kind: Team
name: others%[1]d
members: [{user: %[3]s}]
`, n, s.victim, bystander))
	s.visibleToTeams(t, "rec/echo", "rec/hold")
	s.token = env.Token(t, testenv.OfUser(s.victim), s.gateway)
	other := env.Token(t, testenv.OfUser(bystander), s.gateway)
	env.WaitEnforced(t)

	victims := make([]*rawclient.Client, len(env.Nodes))
	for i, node := range env.Nodes {
		victims[i] = client(env, node, s.gateway, s.token.Text)
		victims[i].Initialize(t)
		works(t, "before", victims[i].Legacy(t, "tools/call", callEcho), "hello")
	}
	slow := startSlow(t, env, upstream, s.gateway, other.Text)
	tc.take(t, s)
	env.WaitEnforced(t)
	for i, c := range victims {
		what := env.Nodes[i].Name
		tc.want.check(t, what+", legacy call", c.Legacy(t, "tools/call", callEcho))
		tc.want.check(t, what+", modern call", c.Modern(t, "tools/call", callEcho, nil))
		if !tc.spares {
			tc.want.check(t, what+", legacy list", c.Legacy(t, "tools/list", noArguments))
			tc.want.check(t, what+", modern list", c.Modern(t, "tools/list", noArguments, nil))
		} else if got := names(t, c.Legacy(t, "tools/list", noArguments)); strings.Join(got, " ") != "rec__hold" {
			t.Errorf("%s: still lists %v", what, got)
		}
	}
	if !tc.shuts && !tc.spares {
		works(t, "new call of the bystander", client(env, env.Nodes[0], s.gateway, other.Text).Call(t, "rec__echo", `{"message":"hello"}`), "hello")
	}
	slow.finish(t, upstream, tc.shuts)
}

const callEcho = `{"name":"rec__echo","arguments":{"message":"hello"}}`

// slowCalls are calls in flight, one of each era on each node.
type slowCalls struct {
	keys    []string
	answers []chan rawclient.Answer
}

func startSlow(t *testing.T, env *testenv.Env, upstream *recorder.Server, gateway, token string) *slowCalls {
	t.Helper()
	s := &slowCalls{}
	for _, node := range env.Nodes {
		for _, era := range []string{"legacy", "modern"} {
			c := client(env, node, gateway, token)
			key := gateway + node.Name + era
			call := `{"name":"rec__hold","arguments":{"key":"` + key + `"}}`
			if era == "legacy" {
				c.Initialize(t)
			}
			answer := make(chan rawclient.Answer, 1)
			go func() {
				if era == "legacy" {
					answer <- c.Legacy(t, "tools/call", call)
				} else {
					answer <- c.Modern(t, "tools/call", call, nil)
				}
			}()
			s.keys, s.answers = append(s.keys, key), append(s.answers, answer)
		}
	}
	for _, key := range s.keys {
		await(t, "call "+key+" to run upstream", upstream.Started(key))
	}
	return s
}

// finish checks that every call still runs, lets them end, and checks that each got its result. Where the gateway is gone for
// everybody they need not live on: then only their end is awaited.
func (s *slowCalls) finish(t *testing.T, upstream *recorder.Server, shut bool) {
	t.Helper()
	for i, key := range s.keys {
		select {
		case <-upstream.Canceled(key):
			if !shut {
				t.Errorf("call %s was canceled", key)
			}
		case a := <-s.answers[i]:
			if !shut {
				t.Errorf("call %s was answered before its end: %d %s", key, a.Status, a.Body)
			}
			s.answers[i] <- a
		default:
		}
		upstream.Release(key)
		if a := <-s.answers[i]; !shut {
			works(t, "call "+key, a, "released")
		}
	}
}
