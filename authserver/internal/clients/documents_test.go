// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// document returns a document for a client_id with other members in it.
func document(id, more string) string {
	return fmt.Sprintf(`{"client_id":%q,"client_name":"C","redirect_uris":["http://127.0.0.1/callback"]%s}`, id, more)
}

// The documents of real clients (auth.md §1), each from a real HTTPS server that answers for its host.
func TestDocumentsOfRealClients(t *testing.T) {
	for file, tc := range map[string]struct {
		requested []string // redirect URIs of requests, all good
		wrong     string
		keys      bool
	}{
		"claude":            {[]string{"https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"}, "https://claude.ai/api/mcp/other", false},
		"claude-code":       {[]string{"http://localhost:51004/callback", "http://127.0.0.1:1/callback"}, "http://localhost:51004/cb", false},
		"chatgpt":           {[]string{"https://chatgpt.com/connector_platform_oauth_redirect"}, "https://chatgpt.com/", true},
		"chatgpt-connector": {[]string{"https://chatgpt.com/connector/oauth/cb_0123456789abcdef"}, "https://chatgpt.com/connector/oauth/other", true},
		"codex":             {[]string{"http://127.0.0.1:1455/callback", "http://localhost:9/callback"}, "http://[::1]/callback", false},
		"vscode":            {[]string{"http://127.0.0.1:49152/", "https://vscode.dev/redirect", "https://insiders.vscode.dev/redirect"}, "http://127.0.0.1:49152", false},
		"copilot-cli":       {[]string{"http://127.0.0.1:40012/", "http://127.0.0.1:33418/"}, "http://localhost:40012/", false},
		"goose":             {[]string{"http://localhost:49321"}, "http://localhost:49321/oauth_callback", false},
		"opencode":          {[]string{"http://127.0.0.1:19876/callback"}, "http://127.0.0.1:19876/mcp/oauth/callback", false},
		"zed":               {[]string{"http://127.0.0.1:50111/callback"}, "http://127.0.0.1:50111/", false},
	} {
		t.Run(file, func(t *testing.T) {
			k := newKit(t)
			text := read(t, filepath.Join("testdata", "documents", file+".json"))
			var said struct {
				ID string `json:"client_id"`
			}
			if err := json.Unmarshal([]byte(text), &said); err != nil {
				t.Fatal(err)
			}
			host, path, _ := strings.Cut(strings.TrimPrefix(said.ID, "https://"), "/")
			id := k.web.URL(host, "/"+path) // the server has another port than 443
			k.web.Handle(id, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json; charset=utf-8")
				_, _ = w.Write([]byte(strings.Replace(text, strconv.Quote(said.ID), strconv.Quote(id), 1)))
			})
			c, err := k.Client(k.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if c.Origin != clients.Metadata || c.ID != id || !strings.HasPrefix(c.Host, host) || !c.Public() || c.Trusted || c.Name == "" {
				t.Errorf("got %+v", c)
			}
			if !slices.Equal(c.Grants, []string{"authorization_code", "refresh_token"}) || len(c.Scopes) != 0 || (c.JWKSURI != "") != tc.keys {
				t.Errorf("got grants %q, scopes %q, keys at %q", c.Grants, c.Scopes, c.JWKSURI)
			}
			for _, uri := range tc.requested {
				if !c.Redirect(uri) {
					t.Errorf("%s is refused", uri)
				}
			}
			if c.Redirect(tc.wrong) {
				t.Errorf("%s is accepted", tc.wrong)
			}
		})
	}
}

// auth.md §16, CIMD: what is refused before anything leaves. A page with 400 (CLIENT_DOCUMENT is Invalid).
func TestClientIDsThatAreNeverFetched(t *testing.T) {
	k := newKit(t)
	for _, id := range []string{
		k.web.URL("client.example", ""), k.web.URL("client.example", "/"), // 58
		strings.Replace(k.web.URL("client.example", "/c.json"), "://", "://u:p@", 1), k.web.URL("client.example", "/c.json#f"), // 59
		k.web.URL("client.example", "/a/../c.json"), k.web.URL("client.example", "/%2e%2e/c.json"), k.web.URL("client.example", "/./c.json"),
		k.web.URL("client.example", "/%2E%2e"), k.web.URL("client.example", "/a%2f..%2fc.json"), k.web.URL("client.example", "/.%2e/c.json"),
		k.web.URL("client.example", "/c.json?x=1"), k.web.URL("client.example", "/c.json?"), k.web.URL("client.example", "/c.json#"),
		"https://169.254.169.254/c.json", "https://[::ffff:169.254.169.254]/c.json", "https://[64:ff9b::a9fe:a9fe]/c.json", "https://0251.0376.0251.0376/c.json", // 61
		"https://10.0.0.7/c.json", "https://[fd00::1]/c.json", "https://localhost/c.json", "https://2130706433/c.json", "https://[::1]/c.json", "https://100.64.0.1/c.json",
		"https:///c.json", "https://client.example:0/c.json", "https://client.example:/c.json", "https://client.example/c json", "https://clïent.example/c.json",
		"https://client.example\\c.json", "https://client.example/" + strings.Repeat("a", 512), "https://client.example/%zz", "https:client.example/c.json",
		`https://client.example/a"b.json`, "https://client.example/a|b.json", "https://client.example/a<b.json", // a parser would escape these
	} {
		_, err := k.Client(k.ctx, id)
		if !strings.HasPrefix(id, cimd.Prefix) {
			refused(t, err, fault.NotFound, clients.ReasonUnknown)
			continue
		}
		refused(t, err, fault.Invalid, clients.ReasonDocument)
		if list := k.events(t); len(list) == 0 || list[len(list)-1] != "cimd.refused "+clients.ReasonDocument {
			t.Errorf("%s: audit (AU-3) %q", id, list)
		}
	}
	if n, asked := k.web.Connections(), k.web.Asked(); n != 0 || len(asked) != 0 {
		t.Errorf("%d connections were made, %q were resolved", n, asked)
	}
}

// auth.md §16, CIMD 61 and 62: a name whose addresses are special-use is resolved and not called, whatever else it has.
func TestNamesOfForbiddenAddresses(t *testing.T) {
	k := newKit(t)
	for i, addrs := range [][]string{
		{"8.8.8.8", "10.0.0.1"}, {"127.0.0.1"}, {"169.254.169.254"}, {"::ffff:127.0.0.1"}, {"64:ff9b::7f00:1"}, {"100.64.0.1"}, {"2002:7f00:1::1"}, {"fd00:ec2::254"}, {"8.8.8.8", "::1"},
	} {
		host := fmt.Sprintf("evil%d.example", i)
		k.web.Name(host, addrs...)
		_, err := k.Client(k.ctx, k.web.URL(host, "/c.json"))
		refused(t, err, fault.Invalid, clients.ReasonDocument)
		if !errors.Is(err, fault.New(fault.Precondition, egress.ReasonRefused, "")) {
			t.Errorf("%v: not refused by the policy: %v", addrs, err)
		}
	}
	if n := k.web.Connections(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// auth.md §16, CIMD 64 to 71: what a document must not be. Each is a page with 400, and is fetched anew the next time.
func TestBadDocuments(t *testing.T) {
	serve := func(kind string, status int, text func(id string) string) func(string) http.HandlerFunc {
		return func(id string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.WriteHeader(status)
				if status != http.StatusNoContent {
					_, _ = w.Write([]byte(text(id)))
				}
			}
		}
	}
	good := func(id string) string { return document(id, "") }
	body := func(text func(id string) string) func(string) http.HandlerFunc {
		return serve("application/json", 200, text)
	}
	more := func(m string) func(string) http.HandlerFunc {
		return body(func(id string) string { return document(id, m) })
	}
	for name, handler := range map[string]func(string) http.HandlerFunc{
		"64 redirect": func(id string) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, id+".other", http.StatusFound) }
		},
		"65 HTML": serve("text/html", 200, good), "65 no media type": serve("", 200, good), "65 404": serve("application/json", 404, good),
		"65 500": serve("application/json", 500, good), "65 204": serve("application/json", 204, nil), "65 201": serve("application/json", 201, good),
		"65 +json alone": serve("application/+json", 200, good), "65 text/json": serve("text/json", 200, good),
		"67 case": body(func(id string) string {
			return document(strings.Replace(id, "client.example", "Client.example", 1), "")
		}),
		"67 port":  body(func(string) string { return document("https://client.example:443/c.json", "") }),
		"67 slash": body(func(id string) string { return document(id+"/", "") }), "67 missing": body(func(string) string { return `{"client_name":"C","redirect_uris":["https://c.example/cb"]}` }),
		"68 client_secret": more(`,"client_secret":"x"`), "68 client_secret_expires_at": more(`,"client_secret_expires_at":0`),
		"68 client_secret_post": more(`,"token_endpoint_auth_method":"client_secret_post"`), "68 plural": more(`,"token_endpoint_auth_methods_supported":["none","client_secret_basic"]`),
		"70 missing": body(func(id string) string { return fmt.Sprintf(`{"client_id":%q,"client_name":"C"}`, id) }),
		"70 empty": body(func(id string) string {
			return fmt.Sprintf(`{"client_id":%q,"client_name":"C","redirect_uris":[]}`, id)
		}),
		"70 javascript": body(func(id string) string {
			return fmt.Sprintf(`{"client_id":%q,"client_name":"C","redirect_uris":["https://c.example/cb","javascript:alert(1)"]}`, id)
		}),
		"71 array": body(func(id string) string { return "[" + document(id, "") + "]" }), "71 not UTF-8": more(",\"x\":\"\xff\""), "71 NaN": more(`,"x":NaN`),
		"71 big number": more(`,"x":1` + strings.Repeat("0", 2<<20)), "71 client_id twice": more(`,"client_id":"https://client.example/c.json"`),
		"no name": body(func(id string) string {
			return fmt.Sprintf(`{"client_id":%q,"redirect_uris":["https://c.example/cb"]}`, id)
		}),
		"blank name": body(func(id string) string {
			return fmt.Sprintf(`{"client_id":%q,"client_name":" ","redirect_uris":["https://c.example/cb"]}`, id)
		}),
		"private key":       more(`,"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}]}`),
		"keys without keys": more(`,"token_endpoint_auth_method":"private_key_jwt"`),
		"unknown method":    more(`,"token_endpoint_auth_method":"tls_client_auth"`),
		"keys inside":       more(`,"jwks_uri":"https://169.254.169.254/"`),
		"keys over http":    more(`,"jwks_uri":"http://keys.example/j"`),
		"10 KiB and a byte": body(func(id string) string {
			return document(id, `,"x":"`+strings.Repeat("a", 10<<10-len(document(id, `,"x":""`))+1)+`"`)
		}),
		"compressed": func(id string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Encoding", "gzip")
				_, _ = w.Write([]byte(document(id, "")))
			}
		},
		"less than it claims": func(id string) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Content-Length", "5000")
				_, _ = w.Write([]byte(document(id, "")))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			id := k.web.URL("client.example", "/c.json")
			k.web.Handle(id, handler(id))
			_, err := k.Client(k.ctx, id)
			refused(t, err, fault.Invalid, clients.ReasonDocument)
			if public := fault.From(err).Public; public != "The description of this client cannot be used (invalid_client)." {
				t.Errorf("the page says %q", public)
			}
			// CIMD-7: errors are not kept.
			k.web.Serve(id, document(id, ""))
			if _, err := k.Client(k.ctx, id); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if n := k.web.Requests(id); n != 2 {
				t.Errorf("asked %d times", n)
			}
			if got := k.events(t); !slices.Equal(got, []string{"cimd.refused CLIENT_DOCUMENT", "cimd.fetched"}) {
				t.Errorf("got events %q", got)
			}
			if n := k.web.Requests(id + ".other"); n != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

func TestGoodDocuments(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, more string
		check      func(*clients.Client) bool
	}{
		"no method is none":     {"application/json", "", (*clients.Client).Public},
		"+json":                 {"application/client-metadata+json", "", (*clients.Client).Public},
		"parameters":            {`application/json; charset="utf-8"; x=y`, "", (*clients.Client).Public},
		"keys only":             {"application/json", `,"token_endpoint_auth_methods_supported":["private_key_jwt"],"jwks_uri":"https://keys.example/j"`, func(c *clients.Client) bool { return c.Method == directory.MethodPrivateKeyJWT }},
		"singular first":        {"application/json", `,"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"],"jwks_uri":"https://keys.example/j"`, func(c *clients.Client) bool { return !c.Public() }},
		"display URLs inside":   {"application/json", `,"logo_uri":"https://169.254.169.254/","client_uri":"javascript:x","sector_identifier_uri":"http://10.0.0.1/"`, (*clients.Client).Public},
		"10 KiB":                {"application/json", "fill", (*clients.Client).Public},
		"known scopes":          {"application/json", `,"scope":"openid read mcp"`, func(c *clients.Client) bool { return slices.Equal(c.Scopes, []string{"read", "mcp"}) }},
		"no known scope":        {"application/json", `,"scope":"openid"`, func(c *clients.Client) bool { return len(c.Scopes) == 0 }},
		"unsupported grants":    {"application/json", `,"grant_types":["implicit"]`, func(c *clients.Client) bool { return len(c.Grants) == 0 }},
		"unsupported responses": {"application/json", `,"response_types":["token"]`, func(c *clients.Client) bool { return slices.Equal(c.Grants, []string{"refresh_token"}) }},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			id := k.web.URL("client.example", "/c.json")
			k.web.Handle(id, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept") != "application/json" || r.Header.Get("User-Agent") != "Penstock-Authserver" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" || r.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("got header %v", r.Header)
				}
				text := document(id, tc.more)
				if tc.more == "fill" {
					text = document(id, `,"x":"`+strings.Repeat("a", 10<<10-len(document(id, `,"x":""`)))+`"`)
				}
				w.Header().Set("Content-Type", tc.kind)
				_, _ = w.Write([]byte(text))
			})
			c, err := k.Client(k.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if !tc.check(c) {
				t.Errorf("got %+v", c)
			}
			if n := k.web.Connections(); n != 1 {
				t.Errorf("%d connections were made, want that of the document", n)
			}
		})
	}
}

// auth.md §16, CIMD 73; CIMD-13: whom the deployment does not trust is not called at all. The page has 403.
func TestTrustComesFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		trust func(k *clientsURL) cimd.Trust
		open  bool
	}{
		"host not listed": {func(*clientsURL) cimd.Trust {
			return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{"other.example"}}
		}, false},
		"host on another port": {func(*clientsURL) cimd.Trust {
			return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{"client.example"}}
		}, false},
		"host above": {func(*clientsURL) cimd.Trust { return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{"example"}} }, false},
		"another URL of the host": {func(u *clientsURL) cimd.Trust {
			return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{u.id + "x"}}
		}, false},
		"off": {func(*clientsURL) cimd.Trust { return cimd.Trust{Mode: cimd.Off} }, false},
		"host listed": {func(u *clientsURL) cimd.Trust {
			return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{"Client.example:" + u.port}}
		}, true},
		"URL listed": {func(u *clientsURL) cimd.Trust { return cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{u.id}} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			base := newKit(t)
			id := base.web.URL("client.example", "/c.json")
			base.web.Serve(id, document(id, ""))
			_, port, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(id, "/c.json"), "https://"), ":")
			k := newKit(t, func(c *clients.Config) {
				c.Trust = tc.trust(&clientsURL{id, port})
				c.Egress, c.RootCAs = base.web.Egress, base.web.RootCAs
			})
			_, err := k.Client(k.ctx, id)
			if tc.open {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, fault.Denied, clients.ReasonRefused)
			if n, asked := base.web.Connections(), base.web.Asked(); n != 0 || len(asked) != 0 {
				t.Errorf("%d connections were made, %q were resolved", n, asked)
			}
			if got := k.events(t); !slices.Equal(got, []string{"cimd.refused CLIENT_REFUSED"}) {
				t.Errorf("got events %q", got)
			}
		})
	}
}

type clientsURL struct{ id, port string }

// CIMD-14: all https redirect URIs count, those on loopback do not.
func TestSameOrigin(t *testing.T) {
	k := newKit(t, func(c *clients.Config) { c.Trust.SameOrigin = true })
	for path, tc := range map[string]struct {
		uris string
		ok   bool
	}{
		"/same":  {`"` + k.web.URL("client.example", "/cb") + `","http://localhost/cb","cursor://anysphere.cursor-mcp/oauth/callback"`, true},
		"/other": {`"` + k.web.URL("client.example", "/cb") + `","https://client.example/cb"`, false},
		"/last":  {`"http://localhost/cb","https://evil.example/cb"`, false},
	} {
		id := k.web.URL("client.example", path)
		k.web.Serve(id, fmt.Sprintf(`{"client_id":%q,"client_name":"C","redirect_uris":[%s]}`, id, tc.uris))
		if _, err := k.Client(k.ctx, id); (err == nil) != tc.ok {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
