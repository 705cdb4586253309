// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// TestPassthroughHeaders is G-40 to G-42 through the whole product: from the manifest to the server, in both eras, and what the
// gateway says once a credential has one of the headers.
func TestPassthroughHeaders(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	installSecret(t, env, upstream.URL)
	env.Apply(t, gatewayYAML("passing", organization, "rec/echo red")+"passthrough_headers: [X-Tenant, x-trace]\n")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "passing")
	env.WaitEnforced(t)
	c := client(env, env.Nodes[0], "passing", token.Text)
	c.Initialize(t)
	sent := http.Header{"x-tenant": {"a", "b"}, "X-TRACE": {token.Text}, "X-Other": {"o"}, "Cookie": {"c"}}
	call := func(step string) []recorder.Request {
		t.Helper()
		upstream.Forget()
		works(t, step, c.Modern(t, "tools/call", callEcho, sent), "hello")
		works(t, step, c.Send(t, rawclient.Request{Header: sent, Body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + callEcho + `}`}), "hello")
		calls := upstream.Calls()
		if len(calls) != 2 {
			t.Fatalf("%s: %d calls", step, len(calls))
		}
		return calls
	}
	for _, r := range call("listed") {
		if !slices.Equal(r.Header["X-Tenant"], []string{"a, b"}) || len(r.Header["X-Trace"])+len(r.Header["X-Other"])+len(r.Header["Cookie"]) > 0 {
			t.Errorf("the server got %v", r.Header)
		}
	}
	for _, r := range upstream.Requests() {
		if r.RPC != "tools/call" && len(r.Header["X-Tenant"]) > 0 {
			t.Errorf("%s %s came with X-Tenant", r.Method, r.RPC)
		}
	}
	env.Apply(t, "kind: Connection\nname: red\nserver: rec\nowner: {organization: {}}\nsecret_headers: {X-Tenant: {from_file: secret/of-the-connection}}\n")
	env.WaitEnforced(t)
	for _, r := range call("shadowed") {
		if !slices.Equal(r.Header["X-Tenant"], []string{"of-the-connection"}) {
			t.Errorf("the credential does not win: %v", r.Header["X-Tenant"])
		}
	}
	got, err := env.Admin.Gateways.GetGateway(t.Context(), &adminv1.GetGatewayRequest{Name: "passing"})
	if err != nil {
		t.Fatal(err)
	}
	shown := false
	for _, one := range got.GetGateway().GetStatus().GetConditions() {
		shown = shown || one.GetType() == "HeaderShadowed" && one.GetStatus() && strings.Contains(one.GetMessage(), "x-tenant (connection red)")
	}
	if !shown {
		t.Errorf("conditions %v", got.GetGateway().GetStatus().GetConditions())
	}
}

// TestTokenRotation is ST-6 through the whole product: every node takes both secrets while they overlap, and only the new one
// after a rotation without an overlap; the end of the token is the end of all.
func TestTokenRotation(t *testing.T) {
	env := testenv.Start(t, testenv.Config{Nodes: 2, TLS: true})
	upstream := recorder.Start(t)
	install(t, env, "rec", upstream.URL)
	gateway(t, env, "rotated", organization, "rec/echo")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "rotated")
	rotate := func(overlap time.Duration) string {
		t.Helper()
		got, err := env.Admin.BearerTokens.RotateBearerToken(t.Context(), &adminv1.RotateBearerTokenRequest{Name: token.Name, Overlap: durationpb.New(overlap)})
		if err != nil {
			t.Fatal(err)
		}
		env.WaitEnforced(t)
		return got.GetToken()
	}
	check := func(step string, good, bad []string) {
		t.Helper()
		for _, n := range env.Nodes {
			for _, text := range good {
				works(t, step+" "+n.Name, client(env, n, "rotated", text).Call(t, "rec__echo", `{"message":"hello"}`), "hello")
			}
			for _, text := range bad {
				wantBadToken().check(t, step+" "+n.Name, client(env, n, "rotated", text).Modern(t, "tools/call", callEcho, nil))
			}
		}
	}
	first := token.Text
	second := rotate(time.Minute)
	check("overlap", []string{first, second}, nil)
	third := rotate(0)
	check("at once", []string{third}, []string{first, second})
	fourth := rotate(time.Minute)
	check("overlap again", []string{third, fourth}, []string{first, second})
	env.Revoke(t, token)
	env.WaitEnforced(t)
	check("revoked", nil, []string{first, second, third, fourth})
	_, err := env.Admin.BearerTokens.RotateBearerToken(t.Context(), &adminv1.RotateBearerTokenRequest{Name: token.Name})
	if err == nil {
		t.Error("a token that was revoked is rotated")
	}
}
