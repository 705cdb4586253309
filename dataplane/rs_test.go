// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const (
	rsMetadata  = "/.well-known/oauth-protected-resource/v1/mcp/"
	rsGoldenPRM = `{"resource":"https://gw.example.com/v1/mcp/eng","authorization_servers":["https://auth.example.com"],` +
		`"scopes_supported":["mcp","mcp:write"],"bearer_methods_supported":["header"],"resource_name":"Engineering"}`
	rsGolden = `Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/eng", scope="mcp", ` +
		`error="invalid_token", error_description="Authentication required"`
	rsInvalid = `Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/eng", scope="mcp", ` +
		`error="invalid_token", error_description="The access token is invalid or expired"`
	rsInvalidBody = `{"error":"invalid_token","error_description":"The access token is invalid or expired"}`
	rsNotFound    = `{"error":"not_found","error_description":"There is nothing at this address."}`
)

// rsRow is one thing to ask of a gateway, and the exact answer. What is empty is not looked at; "-" is empty.
type rsRow struct {
	id, name        string
	method, path    string // POST /v1/mcp/eng unless set
	headers         []string
	status          int
	challenge, body string
	cache, cors     string
}

// rsRows are the rows of auth.md §9 and §16 that are one request, with tokens that a world made.
func rsRows(w *rsWorld) []rsRow {
	valid := w.token(nil)
	get := func(id, name, path string, status int, body string) rsRow {
		return rsRow{id: id, name: name, method: "GET", path: path, status: status, body: body, cors: "*", challenge: "-"}
	}
	post := func(id, name string, status int, challenge, body string, headers ...string) rsRow {
		return rsRow{id: id, name: name, headers: headers, status: status, challenge: challenge, body: body, cache: "no-store"}
	}
	bad := func(id, name, token string) rsRow {
		return post(id, name, 401, rsInvalid, rsInvalidBody, bearer(token))
	}
	form := func(form string) string { return strings.Replace(rsGoldenPRM, "/eng", "/"+form, 1) }
	const malformed = `Bearer error="invalid_request", error_description="`
	rows := []rsRow{
		get("RS-1", "metadata", rsMetadata+"eng", 200, rsGoldenPRM),
		get("RS-1", "metadata, trailing slash", rsMetadata+"eng/", 200, form("eng/")),
		get("RS-1", "metadata, by uid", rsMetadata+"uid-eng", 200, form("uid-eng")),
		get("RS-1", "metadata, by uid with a slash", rsMetadata+"uid-eng/", 200, form("uid-eng/")),
		{id: "RS-1", name: "metadata, HEAD", method: "HEAD", path: rsMetadata + "eng", status: 200, body: "-", cache: "max-age=300"},
		{id: "RS-1", name: "metadata, preflight", method: "OPTIONS", path: rsMetadata + "eng", status: 204, cors: "*", headers: []string{"Origin: https://inspector.example", "Access-Control-Request-Headers: mcp-protocol-version"}},
		{id: "RS-1", name: "metadata, POST", method: "POST", path: rsMetadata + "eng", status: 405, cors: "*"},
		{id: "RS-1", name: "metadata, host of somebody else", method: "GET", path: rsMetadata + "eng", headers: []string{"X-Forwarded-Host: evil.example", "Origin: https://evil.example"}, status: 200, body: rsGoldenPRM},
		get("RS-1", "no metadata without OAuth", rsMetadata+"static", 404, rsNotFound),
		post("RS-1", "no parameters without OAuth", 401, `Bearer error="invalid_token", error_description="Authentication required"`, "").at("/v1/mcp/static"),
		get("RS-2", "root metadata", "/.well-known/oauth-protected-resource", 404, `{"error":"not_found","error_description":"Metadata is per gateway, at /.well-known/oauth-protected-resource/v1/mcp/<gateway>."}`),
		post("RS-3", "no token", 401, rsGolden, `{"error":"unauthorized","error_description":"Authentication required"}`),
		bad("RS-4", "expired", w.token(map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(-2 * time.Minute).Unix()})).expired(),
		bad("RS-4", "user deactivated", w.token(map[string]any{"sub": "uid-gone"})),
		bad("RS-4", "wrong typ", w.token(map[string]any{"typ": "JWT"})),
		post("RS-6", "no access", 403, "Bearer", `{"error":"gateway_access_denied","error_description":"You may not use this gateway"}`, bearer(w.token(map[string]any{"aud": rsRB}))).at("/v1/mcp/support"),
		post("RS-6", "gateway disabled", 403, "Bearer", "", bearer(w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/off"}))).at("/v1/mcp/off"),
		post("RS-7", "Bearer without a token", 400, malformed+`The Authorization header must be: Bearer <token>"`, "", "Authorization: Bearer "),
		post("RS-7", "two headers", 400, malformed+`There is more than one Authorization header"`, "", bearer(valid), bearer(valid)),
		post("RS-7", "token in the query", 400, malformed+`The access token must be in the Authorization header, not in the URL"`, "").at("/v1/mcp/eng?access_token=" + valid),
		post("RS-7", "another scheme", 401, rsGolden, "", "Authorization: Basic dTpw"),
		post("RS-8", "scheme in lower case", 400, "-", "", "Authorization: bearer "+valid), // read, then no JSON-RPC
		post("RS-9", "Origin before all else", 403, "-", "", "Origin: https://evil.example").at("/v1/mcp/none"),
		post("RS-9", "gateway before token", 404, "-", "", "Authorization: Bearer ").at("/v1/mcp/none"),
		post("RS-9", "token before body", 401, rsGolden, ""),
		post("RS-9", "access before body", 403, "Bearer", "", bearer(w.token(map[string]any{"sub": "uid-u2"}))),
		bad("RS-10", "other issuer", w.token(map[string]any{"iss": "https://idp.example"})),
		bad("RS-10", "not yet issued", w.token(map[string]any{"iat": time.Now().Add(2 * time.Minute).Unix()})),
		post("RS-15", "token of A at B", 401, strings.ReplaceAll(rsInvalid, "/eng", "/support"), rsInvalidBody, bearer(valid)).at("/v1/mcp/support"),
		post("RS-16", "unknown gateway", 404, "-", "").at("/v1/mcp/none"),
		get("RS-16", "metadata of an unknown gateway", rsMetadata+"none", 404, rsNotFound),
		get("RS-16", "metadata of two slashes", rsMetadata+"eng//", 404, rsNotFound),
		post("RS-17", "challenge for a slash", 401, strings.Replace(rsGolden, "/eng", "/eng/", 1), "").at("/v1/mcp/eng/"),
		post("RS-17", "challenge for a uid", 401, strings.Replace(rsGolden, "/eng", "/uid-eng", 1), "").at("/v1/mcp/uid-eng"),
		post("RS-20", "static token where there are none", 401, strings.ReplaceAll(rsInvalid, "/eng", "/support"), rsInvalidBody, bearer(w.static["u1"])).at("/v1/mcp/support"),
		post("RS-20", "access token where there is no OAuth", 401, `Bearer error="invalid_token", error_description="The access token is invalid or expired"`, rsInvalidBody, bearer(w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/static"}))).at("/v1/mcp/static"),
		bad("RS-20", "path that is not on", w.token(map[string]any{"pst_method": "id_jag"})),
		get("RS-1", "metadata with ID-JAG alone", rsMetadata+"managed", 200, strings.NewReplacer("/eng", "/managed", "Engineering", "managed").Replace(rsGoldenPRM)),
		post("RS-3", "no token, ID-JAG alone", 401, strings.Replace(rsGolden, "/eng", "/managed", 1), "").at("/v1/mcp/managed"),
		post("RS-20", "by ID-JAG", 400, "-", "", bearer(w.token(map[string]any{"pst_method": "id_jag", "aud": rsOrigin + "/v1/mcp/managed"}))).at("/v1/mcp/managed"), // read, then no JSON-RPC
		post("RS-20", "by OAuth where ID-JAG alone is on", 401, strings.Replace(rsInvalid, "/eng", "/managed", 1), rsInvalidBody, bearer(w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/managed"}))).at("/v1/mcp/managed"),
		bad("RS-20", "neither shape", "opaque"),
		get("AS-22", "metadata of the authserver", "/.well-known/oauth-authorization-server", 200, rsServer),
		{id: "AS-22", name: "HEAD", method: "HEAD", path: "/.well-known/oauth-authorization-server", status: 200, body: "-"},
		get("AS-22", "under the gateway", "/.well-known/oauth-authorization-server/v1/mcp/eng", 404, rsNotFound),
		get("AS-19", "guessed authorize", "/authorize?client_id=x", 404, rsNotFound),
		{id: "AS-19", name: "guessed token", path: "/token", status: 404, body: rsNotFound},
		{id: "AS-19", name: "guessed registration", path: "/register", status: 404, body: rsNotFound},
		post("N127", "Basic", 401, rsGolden, "", "Authorization: Basic dTpw"),
		bad("N130", "token for B", w.token(map[string]any{"aud": rsRB})),
		bad("N130", "audience of two", w.token(map[string]any{"aud": []string{rsRA, rsRB}})),
		bad("N131", "refresh token", "psr_"+w.static["u1"][6:]),
		bad("N131", "ID-JAG", w.token(map[string]any{"typ": "oauth-id-jag+jwt"})),
		bad("N131", "logout token", w.token(map[string]any{"typ": "logout+jwt"})),
		post("N143", "Origin", 403, "-", "", "Origin: https://evil.example", bearer(valid)),
		bad("N145", "wrong checksum", w.static["u1"][:len(w.static["u1"])-1]+"!"),
		bad("N145", "expired", w.static["old"]),
		bad("N145", "owner disabled", w.static["gone"]),
		post("N145", "gateway not on its list", 401, strings.ReplaceAll(rsInvalid, "/eng", "/unlisted"), rsInvalidBody, bearer(w.static["u1"])).at("/v1/mcp/unlisted"),
		post("N146", "static tokens off", 401, strings.ReplaceAll(rsInvalid, "/eng", "/support"), rsInvalidBody, bearer(w.static["u1"])).at("/v1/mcp/support"),
	}
	for i, token := range []string{valid + ".x", valid[:20], strings.ToUpper(valid), "eyJhbGciOiJub25lIn0.e30."} {
		rows = append(rows, bad("N133", fmt.Sprint("no token ", i), token))
	}
	return rows
}

func (r rsRow) at(path string) rsRow { r.path = path; return r }

// expired is the answer of a token that was good once.
func (r rsRow) expired() rsRow {
	const was, is = "is invalid or expired", "has expired"
	r.challenge, r.body = strings.Replace(r.challenge, was, is, 1), strings.Replace(r.body, was, is, 1)
	return r
}

// TestResourceServer is auth.md §9 and "Gateway (RS)" of §16, of which each row is one request.
func TestResourceServer(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		for _, row := range rsRows(w) {
			method, path := row.method, row.path
			if method == "" {
				method = "POST"
			}
			if path == "" {
				path = "/v1/mcp/eng"
			}
			got := w.do(method, path, "{}", row.headers...)
			check := func(what, got, want string) {
				if want != "" && got != strings.TrimPrefix(want, "-") {
					t.Errorf("%s %s: %s is\n%s, want\n%s", row.id, row.name, what, got, want)
				}
			}
			check("status", fmt.Sprint(got.status), fmt.Sprint(row.status))
			check("challenge", got.challenge(), row.challenge)
			check("body", got.body, row.body)
			check("Cache-Control", got.header.Get("Cache-Control"), row.cache)
			check("CORS", got.header.Get("Access-Control-Allow-Origin"), row.cors)
			if row.status == 200 && method == "GET" {
				check("Cache-Control", got.header.Get("Cache-Control"), "max-age=300")
				check("Content-Type", got.header.Get("Content-Type"), "application/json")
			}
			for _, value := range got.header["Www-Authenticate"] {
				if strings.Contains(value, "eyJ") || strings.Contains(value, "pst_") {
					t.Errorf("%s %s: the challenge holds the token: %s", row.id, row.name, value)
				}
			}
		}
		if got := w.do("OPTIONS", rsMetadata+"eng", "", "Access-Control-Request-Headers: mcp-protocol-version"); got.header.Get("Access-Control-Allow-Headers") != "mcp-protocol-version" {
			t.Errorf("preflight: %v", got.header)
		}
	})
	inRS(t, rsOptions{noCompat: true}, func(w *rsWorld) {
		want, _, _ := strings.Cut(rsGolden, `, error=`)
		if got := w.do("POST", "/v1/mcp/eng", "{}"); got.challenge() != want {
			t.Errorf("RS-3 without chatgpt_compat: %s", got.challenge())
		}
	})
}

// RS-5, RS-19, RS-21, N136: scopes decide calls, after what the caller can see and before anything is sent.
func TestResourceServerScopes(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		scoped := func(scope string) string { return w.token(map[string]any{"scope": scope}) }
		const needs = `Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/eng", scope="%s", ` +
			`error="insufficient_scope", error_description="The token lacks a scope that this request needs: %[1]s"`
		write, base := fmt.Sprintf(needs, "mcp mcp:write"), fmt.Sprintf(needs, "mcp")
		for _, tt := range []struct {
			name, tool, token string
			status            int
			challenge         string
		}{
			{"enough", "srv__echo", scoped("mcp"), 200, ""},
			{"step up (RS-5, N136)", "srv__write", scoped("mcp"), 403, write},
			{"more than the base", "srv__write", scoped("mcp:write"), 403, write},
			{"all of it", "srv__write", scoped("mcp:write mcp"), 200, ""},
			{"admin", "srv__write", scoped("mcp:admin"), 200, ""},
			{"none", "srv__echo", scoped("openid"), 403, base},
			{"static token", "srv__write", w.static["u1"], 403, write},
			{"static token, enough", "srv__echo", w.static["u1"], 200, ""},
			{"unknown tool (RS-21)", "srv__none", scoped("openid"), 200, ""},
		} {
			got := w.call("eng", tt.tool, tt.token)
			if got.status != tt.status || got.challenge() != tt.challenge || got.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d, %s, %v\n%s", tt.name, got.status, got.challenge(), got.header, got.body)
			}
			if streamed := got.header.Get("Content-Type") == "text/event-stream"; tt.status == 403 && streamed {
				t.Errorf("%s: a stream was begun", tt.name)
			}
		}
		w.publish(func(b *view.Builder) {
			b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
				Name: "lazy", UID: "uid-lazy", Visibility: view.Visibility{Teams: []string{"eng"}}, OAuth: true, LoadToolsWhenNeeded: true,
			}})
		})
		for _, tool := range []string{"search_tools", "run_tool"} {
			for scope, status := range map[string]int{"openid": 403, "mcp": 200} {
				got := w.call("lazy", tool, w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/lazy", "scope": scope}))
				if got.status != status {
					t.Errorf("%s with the scope %s: %d %s", tool, scope, got.status, got.body)
				}
			}
		}
		list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{` + reserved + `}}}`
		headers := []string{"MCP-Protocol-Version: " + modernVersion, "Mcp-Method: tools/list"}
		got := w.do("POST", "/v1/mcp/eng", list, append(headers, bearer(scoped("mcp")))...)
		if !strings.Contains(got.body, "srv__write") || !strings.Contains(got.body, `"cacheScope":"private"`) || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("RS-18, step-up: what needs more scopes is hidden, or not private: %s %v", got.body, got.header)
		}
		if got := w.do("POST", "/v1/mcp/eng", list, append(headers, bearer(scoped("x")))...); got.status != 403 || got.challenge() != base {
			t.Errorf("a list without mcp: %d %s", got.status, got.challenge())
		}
		unknown := w.call("fresh", "srv__none", w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/fresh"}))
		for _, kind := range []string{"assignment", "tool", "server"} { // RS-21: taken away, and not there for B at all
			w.publish(func(*view.Builder) {})
			name := map[string]string{"assignment": "eng/srv/write", "tool": "srv/write", "server": "srv"}[kind]
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: kind, Name: name}})
			if got := w.call("eng", "srv__write", scoped("mcp")); strings.ReplaceAll(got.body, "srv__write", "srv__none") != unknown.body || got.status != unknown.status {
				t.Errorf("RS-21, %s: %s, unknown: %s", kind, got.body, unknown.body)
			}
		}
	})
}

// RS-17, RS-13, N140, N142: both forms of the URL behave the same, and nothing of the caller's reaches the server.
func TestResourceServerPassesNothingOn(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		token := w.token(nil)
		for _, gateway := range []string{"eng", "eng/", "uid-eng", "uid-eng/"} {
			w.origin.take()
			got := w.call(gateway, "srv__echo", token, "Cookie: s="+token, "DPoP: x", "X-Api-Key: k", "Proxy-Authorization: Basic x", "X-Forwarded-User: admin")
			if got.status != http.StatusOK {
				t.Fatalf("%s: %d %s", gateway, got.status, got.body)
			}
			for _, sent := range w.origin.take() {
				for _, name := range []string{"Authorization", "Cookie", "Dpop", "X-Api-Key", "Proxy-Authorization", "X-Forwarded-User"} {
					if sent.header.Get(name) != "" {
						t.Errorf("%s: %s was passed on", gateway, name)
					}
				}
				if strings.Contains(fmt.Sprint(sent), token) {
					t.Errorf("%s: the token was passed on", gateway)
				}
			}
		}
	})
}
