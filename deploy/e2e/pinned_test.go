// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// Secrets of the two connections. Nothing but the upstream may ever see them.
const (
	redSecret  = "Bearer red-7f3a-upstream-secret"
	blueSecret = "Bearer blue-91cd-upstream-secret"
	nextSecret = "Bearer red-rotated-c0ffee-secret"
)

// installSecret registers a server that takes secret headers, with two connections.
func installSecret(t *testing.T, env *testenv.Env, url string) {
	t.Helper()
	env.Apply(t, fmt.Sprintf(`
kind: Server
name: rec
streamable_http: {url: %q}
credential: {static_headers: {}}
visibility: {organization: {}}
---
kind: Connection
name: red
server: rec
owner: {organization: {}}
secret_headers: {Authorization: {from_file: %q}}
---
kind: Connection
name: blue
server: rec
owner: {organization: {}}
secret_headers: {Authorization: {from_file: %q}}
`, url, "secret/"+redSecret, "secret/"+blueSecret))
	env.Discover(t, "rec", "red")
}

// TestPinned runs calls of two gateways with two connections of one server: the upstream sees the right secret each time and
// nothing of the caller (G-11, RS-13, UP-1); a rotated secret is used at once; a deleted connection is named by the call.
func TestPinned(t *testing.T) {
	env := testenv.Start(t, testenv.Config{})
	upstream := recorder.Start(t)
	installSecret(t, env, upstream.URL)
	env.Apply(t, users("ada@penstock.test", "bob@penstock.test"))
	gateway(t, env, "red", organization, "rec/echo red")
	gateway(t, env, "blue", organization, "rec/echo blue")
	tokens := []testenv.Token{
		env.Token(t, testenv.OfUser("ada@penstock.test"), "red", "blue"), env.Token(t, testenv.OfUser("bob@penstock.test"), "red", "blue"),
	}
	env.WaitEnforced(t)
	upstream.Forget()

	t.Run("each call with its secret", func(t *testing.T) {
		callMany(t, env, tokens)
		checkSecrets(t, upstream, tokens, map[string]string{"red": redSecret, "blue": blueSecret})
	})
	t.Run("rotated secret", func(t *testing.T) {
		upstream.Forget()
		env.Apply(t, fmt.Sprintf("kind: Connection\nname: red\nserver: rec\nowner: {organization: {}}\nsecret_headers: {Authorization: {from_file: %q}}\n", "secret/"+nextSecret))
		env.WaitEnforced(t)
		callMany(t, env, tokens)
		checkSecrets(t, upstream, tokens, map[string]string{"red": nextSecret, "blue": blueSecret})
	})
	t.Run("the API never returns a secret", func(t *testing.T) {
		c, err := env.Admin.Connections.GetConnection(t.Context(), &adminv1.GetConnectionRequest{Name: "red"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.GetConnection(); len(got.GetSecretHeaders()) > 0 || strings.Join(got.GetSecretNames(), " ") != "Authorization" {
			t.Errorf("got secret headers %v and names %v", got.GetSecretHeaders(), got.GetSecretNames())
		}
	})
	t.Run("deleted connection", func(t *testing.T) {
		if _, err := env.Admin.Connections.DeleteConnection(t.Context(), &adminv1.DeleteConnectionRequest{Name: "red"}); err != nil {
			t.Fatal(err)
		}
		env.WaitEnforced(t)
		upstream.Forget()
		r := resultOf(t, client(env, env.Nodes[0], "red", tokens[0].Text).Call(t, "rec__echo", `{"message":"red"}`))
		e := r.Result.StructuredContent.Error
		if !r.Result.IsError || !strings.Contains(r.text(), `"red"`) || e.Type != "CONNECTION_MISSING" || e.Server != "rec" || e.Retryable {
			t.Errorf("got %+v", r)
		}
		works(t, "the other gateway", client(env, env.Nodes[0], "blue", tokens[0].Text).Call(t, "rec__echo", `{"message":"blue"}`), "blue")
		if n := len(upstream.Calls()); n != 1 {
			t.Errorf("%d calls reached the upstream, want the other gateway's", n)
		}
	})
	for _, secret := range []string{redSecret, blueSecret, nextSecret, tokens[0].Text, tokens[1].Text} {
		if strings.Contains(env.Log.String(), strings.TrimPrefix(secret, "Bearer ")) {
			t.Error("a secret or a token is in the log")
		}
	}
}

// callMany calls each gateway as each caller, at the same time and in both eras, with headers that must stop at the gateway.
// The message says at which gateway.
func callMany(t *testing.T, env *testenv.Env, tokens []testenv.Token) {
	t.Helper()
	callers := http.Header{
		"Cookie": {"session=" + tokens[0].Text}, "X-Api-Key": {tokens[0].Text}, "Dpop": {"proof"}, "Proxy-Authorization": {"Basic YTpi"},
		"X-Forwarded-User": {"admin"}, "X-Forwarded-For": {"203.0.113.7"}, "Forwarded": {"for=203.0.113.7"},
		"X-Anything": {"not on any list"}, "Baggage": {"user=ada"},
	}
	var calls sync.WaitGroup
	for range 5 {
		for _, name := range []string{"red", "blue"} {
			for _, token := range tokens {
				c := client(env, env.Nodes[0], name, token.Text)
				call := `{"name":"rec__echo","arguments":{"message":"` + name + `"}}`
				calls.Go(func() { works(t, "modern call at "+name, c.Modern(t, "tools/call", call, callers), name) })
				calls.Go(func() {
					c := client(env, env.Nodes[0], name, token.Text)
					c.Initialize(t)
					r := rawclient.Request{Header: callers, Body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + call + `}`}
					works(t, "legacy call at "+name, c.Send(t, r), name)
				})
			}
		}
	}
	calls.Wait()
}

// checkSecrets looks at every request that reached the upstream. secrets are by gateway.
func checkSecrets(t *testing.T, upstream *recorder.Server, tokens []testenv.Token, secrets map[string]string) {
	t.Helper()
	if n := len(upstream.Calls()); n != 40 {
		t.Errorf("%d calls reached the upstream, want 40", n)
	}
	for _, r := range upstream.Requests() {
		sent := fmt.Sprintf("%v %s", r.Header, r.Body)
		if r.RPC == "tools/call" {
			name := "red"
			if strings.Contains(string(r.Body), `"blue"`) {
				name = "blue"
			}
			if got := r.Header["Authorization"]; len(got) != 1 || got[0] != secrets[name] {
				t.Errorf("a call at %s came with Authorization %q", name, got)
			}
		}
		for _, token := range tokens {
			if strings.Contains(sent, token.Text) {
				t.Errorf("the token of the caller reached the upstream: %s", sent)
			}
		}
		for _, name := range []string{
			"Cookie", "X-Api-Key", "Dpop", "Proxy-Authorization", "X-Forwarded-User", "X-Forwarded-For", "Forwarded", "X-Anything", "Baggage",
		} {
			if r.Header.Get(name) != "" {
				t.Errorf("the header %s of the caller reached the upstream", name)
			}
		}
	}
}

// TestPinnedEnvironment is the same for a stdio server, which gets its secret in its environment and sees nothing else of the
// node's.
func TestPinnedEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_E2E_OF_THE_NODE", "belongs to the node")
	env := testenv.Start(t, testenv.Config{})
	s := readNPM(t, "everything", "stdio", "", "")
	env.Apply(t, fmt.Sprintf(`
kind: Server
name: env
stdio: {command: %q, args: [%q, stdio], env: {PLAIN: of-the-server}}
credential: {static_env: {}}
visibility: {organization: {}}
`, s.Command, s.Args[0]))
	for _, name := range []string{"red", "blue"} {
		env.Apply(t, fmt.Sprintf("kind: Connection\nname: %[1]s\nserver: env\nowner: {organization: {}}\nsecret_env: {SECRET: {from_file: secret/%[1]s-secret}}\n", name))
	}
	env.Discover(t, "env", "red")
	gateway(t, env, "red", organization, "env/get-env red")
	gateway(t, env, "blue", organization, "env/get-env blue")
	token := env.Token(t, testenv.OfUser(testenv.AdminEmail), "red", "blue")
	env.WaitEnforced(t)
	for name, other := range map[string]string{"red": "blue", "blue": "red"} {
		text := resultOf(t, client(env, env.Nodes[0], name, token.Text).Call(t, "env__get-env", noArguments)).text()
		for _, has := range []string{`"SECRET": "` + name + `-secret"`, `"PLAIN": "of-the-server"`} {
			if !strings.Contains(text, has) {
				t.Errorf("the environment at %s has no %s: %s", name, has, text)
			}
		}
		for _, hasNot := range []string{other + "-secret", "PENSTOCK", token.Text} {
			if strings.Contains(text, hasNot) {
				t.Errorf("the environment at %s has %s: %s", name, hasNot, text)
			}
		}
	}
}
