// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
)

// What gateways answer before they read a request's body (auth.md section 9).
const (
	noToken      = `{"error":"unauthorized","error_description":"Authentication required"}`
	badToken     = `{"error":"invalid_token","error_description":"The access token is invalid or expired"}`
	accessDenied = `{"error":"gateway_access_denied","error_description":"You may not use this gateway"}`
	noGateway    = `{"error":"not_found","error_description":"There is no gateway at this address.","reason":"GATEWAY_NOT_FOUND"}`

	challengeNoToken  = `Bearer error="invalid_token", error_description="Authentication required"`
	challengeBadToken = `Bearer error="invalid_token", error_description="The access token is invalid or expired"`
)

// want is an answer to the last byte. An empty challenge means that there is none.
type want struct {
	status    int
	challenge string
	body      string
}

func wantBadToken() want {
	return want{http.StatusUnauthorized, challengeBadToken, badToken}
}

func wantAccessDenied() want { return want{http.StatusForbidden, "Bearer", accessDenied} }

func (w want) check(t *testing.T, what string, got rawclient.Answer) {
	t.Helper()
	if got.Status != w.status || got.Header.Get("WWW-Authenticate") != w.challenge {
		t.Errorf("%s: got status %d and challenge %q, want %d and %q", what, got.Status, got.Header.Get("WWW-Authenticate"), w.status, w.challenge)
	}
	if diff := cmp.Diff(w.body, got.Body); diff != "" {
		t.Errorf("%s: body (-want +got):\n%s", what, diff)
	}
	if got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: Cache-Control is %q (RS-18)", what, got.Header.Get("Cache-Control"))
	}
}

// unknownTool is the answer of both eras to a tool that is unknown, hidden or not assigned (RS-21).
func unknownTool(name string) want {
	return want{status: http.StatusOK, body: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Unknown tool: ` + name + `"}}`}
}

// client returns a client of a gateway on a node.
func client(env *testenv.Env, n *testenv.Node, gateway, token string) *rawclient.Client {
	return &rawclient.Client{HTTP: env.HTTP, URL: n.Gateway(gateway), Token: token}
}

// install registers an HTTP server without credential and installs it for the organisation under the same name.
func install(t *testing.T, env *testenv.Env, name, url string) {
	t.Helper()
	env.Apply(t, fmt.Sprintf(`
kind: Server
name: %[1]s
streamable_http: {url: %[2]q}
visibility: {organization: {}}
---
kind: Connection
name: %[1]s
server: %[1]s
owner: {organization: {}}
`, name, url))
	env.Discover(t, name, "")
}

// gateway makes a gateway or changes it into this one. Tools are "<server>/<upstream name>", pinned to the connection that is
// called like the server, or "<server>/<upstream name> <connection>".
func gateway(t *testing.T, env *testenv.Env, name, visibility string, tools ...string) {
	t.Helper()
	env.Apply(t, gatewayYAML(name, visibility, tools...))
}

func gatewayYAML(name, visibility string, tools ...string) string {
	yaml := fmt.Sprintf("kind: Gateway\nname: %s\nvisibility: %s\nauthentication: {bearer_token: {}}\n", name, visibility)
	if len(tools) > 0 {
		yaml += "tools:\n"
	}
	for _, tool := range tools {
		tool, connection, ok := strings.Cut(tool, " ")
		if !ok {
			connection, _, _ = strings.Cut(tool, "/")
		}
		yaml += fmt.Sprintf("- {tool: %s, pinned: {connection: %s}}\n", tool, connection)
	}
	return yaml
}

const (
	organization = "{organization: {}}"
	noArguments  = "{}"
)

func users(emails ...string) string {
	var yaml strings.Builder
	for _, email := range emails {
		fmt.Fprintf(&yaml, "---\nkind: User\nname: %s\n", email)
	}
	return yaml.String()
}

// toolResult is what of a tools/call answer tests look at.
type toolResult struct {
	Result struct {
		IsError           bool
		Content           []struct{ Text string }
		StructuredContent struct {
			Error struct {
				Type, Server string
				Retryable    bool
				RetryAfterMS int `json:"retry_after_ms"`

				RetryAfterSeconds int `json:"retry_after_seconds"`
			} `json:"penstock_error"`
		}
	}
	Error struct {
		Code    int
		Message string
	}
}

func (r toolResult) text() string {
	var text strings.Builder
	for _, c := range r.Result.Content {
		text.WriteString(c.Text)
	}
	return text.String()
}

// resultOf reads the response in an answer; anything but status 200 and a response fails the test.
func resultOf(t *testing.T, a rawclient.Answer) toolResult {
	t.Helper()
	var r toolResult
	if a.Status != http.StatusOK {
		t.Errorf("status %d: %s", a.Status, a.Body)
	} else if err := json.Unmarshal([]byte(a.Last()), &r); err != nil {
		t.Errorf("response %q: %v", a.Last(), err)
	}
	return r
}

// works checks that a call succeeds and gives the text.
func works(t *testing.T, what string, a rawclient.Answer, text string) {
	t.Helper()
	if r := resultOf(t, a); r.Result.IsError || r.Error.Code != 0 || r.text() != text {
		t.Errorf("%s: got %s, want a result with %q", what, a.Body, text)
	}
}

// names returns the names of the tools in an answer to tools/list.
func names(t *testing.T, a rawclient.Answer) []string {
	t.Helper()
	var list struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if a.Status != http.StatusOK {
		t.Errorf("status %d: %s", a.Status, a.Body)
	} else if err := json.Unmarshal([]byte(a.Last()), &list); err != nil {
		t.Errorf("list %q: %v", a.Last(), err)
	}
	found := []string{}
	for _, tool := range list.Result.Tools {
		found = append(found, tool.Name)
	}
	return found
}
