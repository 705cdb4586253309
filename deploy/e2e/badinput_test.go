// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/e2e/testenv"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/collector"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
	"github.com/penstockhq/penstock/deploy/e2e/testenv/recorder"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// badWorld is what the bad input meets: a gateway "g" with a token for it, in front of a server that takes a secret.
type badWorld struct {
	env      *testenv.Env
	upstream *recorder.Server
	token    testenv.Token
	secrets  []string // what must be found nowhere, beside token
	answers  strings.Builder
}

// TestBadInput sends what no client should, and checks each answer to its last byte (auth.md section 16, M-14 to M-16, M-23,
// M-46); then it has the upstream misbehave; at last it looks everywhere for the secrets that were used.
func TestBadInput(t *testing.T) {
	sink := collector.Start(t)
	w := &badWorld{env: testenv.Start(t, testenv.Config{OTLP: sink.Endpoint}), upstream: recorder.Start(t)}
	installSecret(t, w.env, w.upstream.URL)
	gateway(t, w.env, "g", organization, "rec/echo red", "rec/hold red", "rec/fail red")
	gateway(t, w.env, "other", organization, "rec/echo blue")
	w.token = w.env.Token(t, testenv.OfUser(testenv.AdminEmail), "g")
	w.secrets = []string{redSecret, blueSecret, w.token.Text, w.env.AdminToken}
	w.env.WaitEnforced(t)

	t.Run("access", w.access)
	t.Run("transport", w.transport)
	t.Run("messages", w.messages)
	t.Run("upstream", w.brokenUpstream)
	t.Run("no secret anywhere", func(t *testing.T) { w.noSecretAnywhere(t, sink) })
}

func (w *badWorld) client() *rawclient.Client {
	return client(w.env, w.env.Nodes[0], "g", w.token.Text)
}

// ask sends a request as it is, which gets the wanted answer.
func (w *badWorld) ask(t *testing.T, c *rawclient.Client, r rawclient.Request, answer want) {
	t.Helper()
	got := c.Send(t, r)
	w.answers.WriteString(got.Body)
	for _, values := range got.Header {
		w.answers.WriteString(strings.Join(values, " "))
	}
	answer.check(t, t.Name(), got)
}

func problem(code, description, reason string) string {
	if reason != "" {
		reason = fmt.Sprintf(`,"reason":%q`, reason)
	}
	return fmt.Sprintf(`{"error":%q,"error_description":%q%s}`, code, description, reason)
}

func invalidRequest(description string) want {
	description = strings.ReplaceAll(description, `"`, "'")
	return want{http.StatusBadRequest, `Bearer error="invalid_request", error_description="` + description + `"`, problem("invalid_request", description, "")}
}

func bearer(values ...string) http.Header {
	h := http.Header{"Authorization": nil}
	for _, v := range values {
		h["Authorization"] = append(h["Authorization"], "Bearer "+v)
	}
	return h
}

// access is bad credentials and addresses: RS-1 to RS-9, RS-15, RS-16, ST-1, ST-8, M-14, M-15.
func (w *badWorld) access(t *testing.T) {
	revoked, expired, foreign := w.deadTokens(t)
	unknown, _ := ident.MintBearer(ident.KindUser)
	adminAPI := w.env.AdminToken
	last := w.token.Text[len(w.token.Text)-1]
	wrongSum := w.token.Text[:len(w.token.Text)-1] + string('0'+(last-'0'+1)%10)
	w.secrets = append(w.secrets, revoked, expired, foreign, unknown)
	missing := want{http.StatusUnauthorized, challengeNoToken, noToken}
	for _, tc := range []struct {
		name    string
		gateway string // "g" if empty
		header  http.Header
		query   string
		want    want
	}{
		{name: "unknown gateway", gateway: "never-was", want: want{http.StatusNotFound, "", noGateway}},
		{name: "unknown gateway without a token", gateway: "never-was", header: bearer(), want: want{http.StatusNotFound, "", noGateway}},
		{name: "no token", header: bearer(), want: missing},
		{name: "another scheme", header: http.Header{"Authorization": {"Basic YTpi"}}, want: missing},
		{name: "garbage", header: bearer("garbage"), want: wantBadToken()},
		{name: "wrong checksum", header: bearer(wrongSum), want: wantBadToken()},
		{name: "unknown token", header: bearer(unknown), want: wantBadToken()},
		{name: "expired token", header: bearer(expired), want: wantBadToken()},
		{name: "revoked token", header: bearer(revoked), want: wantBadToken()},
		{name: "token of another gateway", header: bearer(foreign), want: wantBadToken()},
		{name: "token of the admin API", header: bearer(adminAPI), want: wantBadToken()},
		{name: "scheme and nothing", header: http.Header{"Authorization": {"Bearer"}}, want: invalidRequest("The Authorization header must be: Bearer <token>")},
		{name: "two tokens", header: bearer(w.token.Text, w.token.Text), want: invalidRequest("There is more than one Authorization header")},
		{name: "token in the query", header: bearer(), query: "?access_token=" + w.token.Text, want: invalidRequest("The access token must be in the Authorization header, not in the URL")},
		{name: "foreign origin", header: http.Header{"Origin": {"https://evil.example"}}, want: want{http.StatusForbidden, "", problem("forbidden", "Pages of this origin may not call this gateway.", "ORIGIN_NOT_ALLOWED")}},
		{name: "foreign host", header: http.Header{"Host": {"evil.example"}}, want: want{http.StatusForbidden, "", problem("forbidden", "This host name is not served here.", "HOST_NOT_ALLOWED")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := w.client()
			if tc.gateway != "" {
				c.URL = w.env.Nodes[0].Gateway(tc.gateway)
			}
			for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{broken`} { // who may not call is not read
				w.ask(t, c, rawclient.Request{Header: tc.header, Query: tc.query, Body: body}, tc.want)
			}
		})
	}
}

// deadTokens makes tokens that are good for nothing at the gateway "g".
func (w *badWorld) deadTokens(t *testing.T) (revoked, expired, foreign string) {
	t.Helper()
	old := w.env.Token(t, testenv.OfUser(testenv.AdminEmail), "g")
	short, err := w.env.Admin.BearerTokens.CreateBearerToken(t.Context(), &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Owner: testenv.OfUser(testenv.AdminEmail), Gateways: []string{"g"}, Ttl: durationpb.New(time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	other := w.env.Token(t, testenv.OfUser(testenv.AdminEmail), "other")
	w.env.Revoke(t, old)
	w.env.WaitEnforced(t)
	c := client(w.env, w.env.Nodes[0], "g", short.GetToken())
	testenv.Until(t, "the token to expire", func() bool {
		return c.Send(t, rawclient.Request{Body: "{}"}).Status == http.StatusUnauthorized
	})
	return old.Text, short.GetToken(), other.Text
}

func rpcError(status int, id string, code int, message, data string) want {
	if id != "" {
		id = `,"id":` + id
	}
	if data != "" {
		data = `,"data":` + data
	}
	return want{status: status, body: fmt.Sprintf(`{"jsonrpc":"2.0"%s,"error":{"code":%d,"message":%q%s}}`, id, code, message, data)}
}

// transport is bad HTTP: M-1, M-16, M-17, and the limits of mcp.md.
func (w *badWorld) transport(t *testing.T) {
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	contentType := rpcError(http.StatusUnsupportedMediaType, "", -32600, "The body must be application/json without a content encoding.", "")
	tooLarge := rpcError(http.StatusRequestEntityTooLarge, "", -32600, "The body has more than 4194304 bytes.", "")
	large := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"x":"` + strings.Repeat("x", 4<<20) + `"}}}`
	version := `{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26","2024-11-05"],"requested":"2031-01-01"}`
	for _, tc := range []struct {
		name    string
		request rawclient.Request
		want    want
	}{
		{"text/plain", rawclient.Request{Body: ping, Header: http.Header{"Content-Type": {"text/plain"}}}, contentType},
		{"no content type", rawclient.Request{Body: ping, Header: http.Header{"Content-Type": nil}}, contentType},
		{"compressed", rawclient.Request{Body: ping, Header: http.Header{"Content-Encoding": {"gzip"}}}, contentType},
		{"accepts HTML only", rawclient.Request{Body: ping, Header: http.Header{"Accept": {"text/html"}}}, rpcError(http.StatusNotAcceptable, "", -32600, "The client must accept application/json or text/event-stream.", "")},
		{"body too large", rawclient.Request{Body: large, Header: http.Header{"Expect": {"100-continue"}}}, tooLarge},
		{"body too large, length unknown", rawclient.Request{Body: large, Chunked: true}, tooLarge},
		{"unknown version", rawclient.Request{Body: ping, Header: http.Header{"Mcp-Protocol-Version": {"2031-01-01"}}}, rpcError(http.StatusBadRequest, "1", -32022, "This protocol version is not supported.", version)},
		{"no session", rawclient.Request{Body: ping}, rpcError(http.StatusBadRequest, "1", -32600, "Mcp-Session-Id required", "")},
		{"garbled session", rawclient.Request{Body: ping, Header: http.Header{"Mcp-Session-Id": {"garbage"}}}, rpcError(http.StatusNotFound, "1", -32600, "Invalid session ID", "")},
		{"PUT", rawclient.Request{Method: http.MethodPut, Body: ping}, rpcError(http.StatusMethodNotAllowed, "", -32600, "This method is not allowed here.", "")},
	} {
		t.Run(tc.name, func(t *testing.T) { w.ask(t, w.client(), tc.request, tc.want) })
	}
}

// messages is bad JSON-RPC of both eras: M-10, M-11, M-23, M-24, M-46.
func (w *badWorld) messages(t *testing.T) {
	session := w.client()
	session.Initialize(t)
	modern := func(method, params string, headers http.Header) rawclient.Request {
		return rawclient.ModernRequest(method, params, headers)
	}
	headerName := rpcError(http.StatusBadRequest, "1", -32020, "Mcp-Name does not match the body: the header is missing", "")
	noMeta := modern("tools/list", noArguments, nil)
	noMeta.Body = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	oldMeta := modern("tools/list", noArguments, nil)
	oldMeta.Body = strings.Replace(oldMeta.Body, rawclient.Modern, "2025-11-25", 1)
	for _, tc := range []struct {
		name    string
		request rawclient.Request
		want    want
	}{
		{"empty body", rawclient.Request{}, rpcError(http.StatusBadRequest, "", -32700, "not valid JSON at byte 0", "")},
		{"malformed JSON", rawclient.Request{Body: `{"jsonrpc":`}, rpcError(http.StatusBadRequest, "", -32700, "not valid JSON at byte 11", "")},
		{"no request", rawclient.Request{Body: `{"id":1,"method":"ping"}`}, rpcError(http.StatusBadRequest, "1", -32600, `jsonrpc must be "2.0"`, "")},
		{"duplicate method", rawclient.Request{Body: `{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}`}, rpcError(http.StatusBadRequest, "1", -32600, "a key stands twice in one object", "")},
		{"unknown method", rawclient.Request{Body: `{"jsonrpc":"2.0","id":1,"method":"no/such"}`}, rpcError(http.StatusOK, "1", -32601, "Method not found", "")},
		{"unknown tool", rawclient.Request{Body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"never-was"}}`}, unknownTool("never-was")},
		{"hidden tool", rawclient.Request{Body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rec__steps"}}`}, unknownTool("rec__steps")},
		{"bad cursor", rawclient.Request{Body: `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"garbage"}}`}, rpcError(http.StatusOK, "1", -32602, "The cursor is not valid; list again without it", "")},
		{"modern, unknown method", modern("no/such", noArguments, nil), rpcError(http.StatusNotFound, "1", -32601, "Method not found", "")},
		{"modern, removed method", modern("ping", noArguments, nil), rpcError(http.StatusNotFound, "1", -32601, "Method not found", "")},
		{"modern, no _meta", noMeta, rpcError(http.StatusBadRequest, "1", -32602, "params._meta must hold io.modelcontextprotocol/protocolVersion, a string", "")},
		{"modern, version header differs", oldMeta, rpcError(http.StatusBadRequest, "1", -32020, "MCP-Protocol-Version does not match the body", "")},
		{"modern, method header differs", modern("tools/list", noArguments, http.Header{"Mcp-Method": {"tools/call"}}), rpcError(http.StatusBadRequest, "1", -32020, "Mcp-Method does not match the body", "")},
		{"modern, no name header", modern("tools/call", callEcho, http.Header{"Mcp-Name": nil}), headerName},
		{"modern, hidden tool", modern("tools/call", `{"name":"rec__steps","arguments":{}}`, nil), unknownTool("rec__steps")},
	} {
		t.Run(tc.name, func(t *testing.T) { w.ask(t, session, tc.request, tc.want) })
	}
	works(t, "after all of it", session.Legacy(t, "tools/call", callEcho), "hello")
}
