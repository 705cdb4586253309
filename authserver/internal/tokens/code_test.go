// SPDX-License-Identifier: Apache-2.0

package tokens_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/tokens"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TK-1, TK-4, TK-6, TK-15: a good code with the vector of RFC 7636 Appendix B.
func TestRedeem(t *testing.T) {
	b := newBench(t)
	code, gid := b.code("c1")
	a := b.token(redeem("c1", code, "resource", resA))
	if a.status != http.StatusOK || a.Type != "Bearer" || a.Expiry != 900 || a.Scope != "mcp mcp:write" {
		t.Fatalf("answer is %d %s", a.status, a.raw)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("header is %v", a.header)
	}
	if _, ok := ident.ParseSecret("psr_", a.Next); !ok {
		t.Errorf("refresh token has the form %q", a.Next)
	}
	header, got, raw := claims(t, a.Access)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" || len(header) != 3 {
		t.Errorf("header is %v", header)
	}
	now := b.Now().Unix()
	want := grants.Claims{
		Issuer: issuer, Subject: user1, Audience: resA, Client: "c1", Expires: now + 900, Issued: now, ID: got.ID, Scope: "mcp mcp:write",
		Method: "oauth", Grant: gid, AuthTime: now - 60, AMR: []string{"pwd", "mfa"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(got.ID) < 32 {
		t.Errorf("jti is %q", got.ID)
	}
	if _, text := raw["aud"].(string); !text {
		t.Error("aud is no string")
	}
	for _, name := range []string{"nbf", "email", "name"} { // TK-5, TK-11
		if _, there := raw[name]; there {
			t.Errorf("the token has %s", name)
		}
	}
	if _, err := b.keys.Verify(a.Access, "at+jwt"); err != nil {
		t.Error(err)
	}
	if got, want := b.audit(), []string{"code.redeemed ok", "token.issued ok authorization_code"}; !cmp.Equal(got[len(got)-2:], want) {
		t.Errorf("audit is %q", got)
	}
}

// The rows of auth.md §5 and §16 about codes and about requests as such, with the exact answer.
func TestRedeemAnswers(t *testing.T) {
	twice := func(name, value string) func(url.Values) { return func(f url.Values) { f.Add(name, value) } }
	for _, tc := range []struct {
		name   string
		code   func(*store.Code)
		form   []string
		change func(url.Values)
		wait   time.Duration
		dir    func(*directory.Content)
		status int
		want   string
	}{
		{name: "redirect_uri missing", form: []string{"redirect_uri", ""}, status: 200},
		{name: "alias with slash", form: []string{"resource", resA + "/"}, status: 200},
		{name: "alias by uid", form: []string{"resource", origin + "/v1/mcp/" + gatewayA}, status: 200},
		{name: "at 59 s", wait: 59 * time.Second, status: 200},
		{name: "unknown parameter", form: []string{"device_code", "x"}, status: 200},
		{name: "82 public client sends a secret", form: []string{"client_secret", "nonsense"}, status: 200},
		{name: "no grant_type", form: []string{"grant_type", ""}, status: 400, want: "invalid_request"},
		{name: "unknown grant_type", form: []string{"grant_type", "password"}, status: 400, want: "unsupported_grant_type"},
		{name: "device grant", form: []string{"grant_type", "urn:ietf:params:oauth:grant-type:device_code"}, status: 400, want: "unsupported_grant_type"},
		{name: "two grant types in one", form: []string{"grant_type", "authorization_code refresh_token"}, status: 400, want: "unsupported_grant_type"},
		{name: "TK-20 token exchange", form: []string{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"}, status: 400, want: "unauthorized_client"},
		{name: "client credentials of a public client", form: []string{"grant_type", "client_credentials"}, status: 400, want: "unauthorized_client"},
		{name: "no code", form: []string{"code", ""}, status: 400, want: "invalid_request"},
		{name: "no verifier", form: []string{"code_verifier", ""}, status: 400, want: "invalid_request"},
		{name: "no client_id", form: []string{"client_id", ""}, status: 400, want: "invalid_request"},
		{name: "AS-16 code twice", change: twice("code", "x"), status: 400, want: "invalid_request"},
		{name: "AS-16 client_id twice", change: twice("client_id", "c1"), status: 400, want: "invalid_request"},
		{name: "AS-16 unknown parameter twice", change: func(f url.Values) { f["x"] = []string{"1", "2"} }, status: 400, want: "invalid_request"},
		{name: "control character", form: []string{"client_id", "c1\x00"}, status: 400, want: "invalid_request"},
		{name: "79 unknown client", form: []string{"client_id", "nobody"}, status: 401, want: "invalid_client"},
		{name: "83 code of another client", form: []string{"client_id", "c2"}, status: 400, want: "invalid_grant"},
		{name: "85 verifier without challenge", code: func(c *store.Code) { c.Challenge = "" }, status: 400, want: "invalid_grant"},
		{name: "wrong verifier", form: []string{"code_verifier", strings.Repeat("a", 43)}, status: 400, want: "invalid_grant"},
		{name: "verifier of 42", form: []string{"code_verifier", strings.Repeat("a", 42)}, status: 400, want: "invalid_grant"},
		{name: "plain", code: func(c *store.Code) { c.Challenge = verifier }, status: 400, want: "invalid_grant"},
		{name: "38 other port", form: []string{"redirect_uri", "http://127.0.0.1:51005/callback"}, status: 400, want: "invalid_grant"},
		{name: "unknown code", form: []string{"code", mint("psa_")}, status: 400, want: "invalid_grant"},
		{name: "code of no form", form: []string{"code", "x"}, status: 400, want: "invalid_grant"},
		{name: "88 after 61 s", wait: 61 * time.Second, status: 400, want: "invalid_grant"},
		{name: "91 fragment", form: []string{"resource", origin + "#f"}, status: 400, want: "invalid_target"},
		{name: "91 relative", form: []string{"resource", "relative"}, status: 400, want: "invalid_target"},
		{name: "91 empty", change: func(f url.Values) { f["resource"] = []string{""} }, status: 400, want: "invalid_target"},
		{name: "92 prefix", form: []string{"resource", resA + "/extra"}, status: 400, want: "invalid_target"},
		{name: "two slashes", form: []string{"resource", resA + "//"}, status: 400, want: "invalid_target"},
		{name: "other gateway", form: []string{"resource", resB}, status: 400, want: "invalid_target"},
		{name: "resource twice", change: func(f url.Values) { f["resource"] = []string{resA, resA} }, status: 400, want: "invalid_target"},
		{name: "user disabled", dir: func(c *directory.Content) { c.Users = nil }, status: 400, want: "invalid_grant"},
		{name: "user left the team", dir: func(c *directory.Content) { c.Teams = nil }, status: 400, want: "invalid_grant"},
		{name: "gateway without oauth", dir: func(c *directory.Content) {
			g := *c.Gateways[0]
			g.OAuth = false
			c.Gateways = []*directory.Gateway{&g}
		}, status: 400, want: "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			var change []func(*store.Code)
			if tc.code != nil {
				change = append(change, tc.code)
			}
			code, _ := b.code("c1", change...)
			form := redeem("c1", code, tc.form...)
			if tc.change != nil {
				tc.change(form)
			}
			b.Advance(tc.wait)
			if tc.dir != nil {
				tc.dir(&b.content)
				b.publish()
			}
			a := b.token(form)
			if tc.status == http.StatusOK {
				if a.status != http.StatusOK || a.Access == "" {
					t.Fatalf("answer is %d %s", a.status, a.raw)
				}
				_, got, _ := claims(t, a.Access)
				if got.Audience != resA {
					t.Errorf("aud is %q", got.Audience)
				}
				return
			}
			refused(t, a, tc.status, tc.want)
			if _, ok := a.header["Www-Authenticate"]; ok {
				t.Error("a challenge, though HTTP Basic was not used")
			}
			if n := count(b.audit(), "code.replayed refused code_replayed"); n != 0 {
				t.Error("a replay is recorded")
			}
			// A refusal takes no code: the right request still works, unless time or access has gone.
			if tc.wait == 0 && tc.dir == nil && tc.code == nil {
				if a := b.token(redeem("c1", code)); a.status != http.StatusOK {
					t.Errorf("the code is gone: %d %s", a.status, a.raw)
				}
			}
		})
	}
}

// AS-15: what is no POST of a form with its parameters in the body.
func TestRequestForm(t *testing.T) {
	b := newBench(t)
	code, _ := b.code("c1")
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"77 GET", func(r *http.Request) { r.Method = http.MethodGet }, 405},
		{"PUT", func(r *http.Request) { r.Method = http.MethodPut }, 405},
		{"77 JSON", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400},
		{"no content type", func(r *http.Request) { r.Header.Del("Content-Type") }, 400},
		{"multipart", func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }, 400},
		{"two content types", func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }, 400},
		{"code in the query", func(r *http.Request) { r.URL.RawQuery = "code=" + code }, 400},
		{"secret in the query", func(r *http.Request) { r.URL.RawQuery = "client_secret=x" }, 400},
		{"too long", func(r *http.Request) { r.Body = http.NoBody; r.Body = body(strings.Repeat("a", 64<<10+1)) }, 413},
		{"bad escape", func(r *http.Request) { r.Body = body("grant_type=%zz") }, 400},
		{"semicolon", func(r *http.Request) { r.Body = body("grant_type=a;b=c") }, 400},
		{"no UTF-8", func(r *http.Request) { r.Body = body("grant_type=%ff") }, 400},
		{"empty", func(r *http.Request) { r.Body = http.NoBody }, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := b.token(redeem("c1", code), tc.change)
			refused(t, a, tc.status, "invalid_request")
			if got := a.header.Get("Allow"); (tc.status == 405) != (got == "POST") {
				t.Errorf("Allow is %q", got)
			}
			if strings.Contains(a.raw, code) {
				t.Error("the answer quotes the code")
			}
		})
	}
	if a := b.token(redeem("c1", code), func(r *http.Request) {
		r.Header.Set("Content-Type", "Application/X-WWW-Form-URLencoded; charset=UTF-8")
	}); a.status != http.StatusOK {
		t.Errorf("content type with a charset: %d %s", a.status, a.raw)
	}
}

// Rows 80, 100, 101 are those of the clients room; here is that its answer arrives as it is.
func TestClientAuthentication(t *testing.T) {
	b := newBench(t)
	code, _ := b.code("conf")
	form := redeem("conf", code, "client_id", "")
	a := b.token(form, basic("conf", "wrong"))
	refused(t, a, http.StatusUnauthorized, "invalid_client")
	if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `Basic realm=`) {
		t.Errorf("challenge is %q", got)
	}
	refused(t, b.token(redeem("conf", code)), http.StatusUnauthorized, "invalid_client")
	refused(t, b.token(redeem("conf", code, "client_secret", secret), basic("conf", secret)), http.StatusBadRequest, "invalid_request")
	if a := b.token(form, basic("conf", secret)); a.status != http.StatusOK {
		t.Errorf("the right secret: %d %s", a.status, a.raw)
	}
	if !slices.Contains(b.audit(), "token.issued refused invalid_client") {
		t.Errorf("audit is %q", b.audit())
	}
}

// Row 86, TK-3: who shows a used code with the right verifier ends what it was redeemed for; who has the code alone does not.
func TestReplay(t *testing.T) {
	b := newBench(t)
	code, gid := b.code("c1")
	first := b.token(redeem("c1", code))
	if first.status != http.StatusOK {
		t.Fatal(first.raw)
	}
	refused(t, b.token(redeem("c1", code, "code_verifier", strings.Repeat("b", 43))), 400, "invalid_grant")
	refused(t, b.token(redeem("c2", code)), 400, "invalid_grant")
	if !b.active(first.Access) {
		t.Fatal("a replay without the verifier ended the grant")
	}
	b.Advance(2 * time.Minute) // the code would be over by now; that it is used counts first
	refused(t, b.token(redeem("c1", code)), 400, "invalid_grant")
	if b.active(first.Access) {
		t.Error("the access token is still good")
	}
	refused(t, b.token(renew("c1", first.Next)), 400, "invalid_grant")
	b.revoked(store.RevokeGrant, gid)
	if n := count(b.audit(), "code.replayed refused code_replayed"); n != 1 {
		t.Errorf("%d replays are recorded", n)
	}
}

// TK-2, row 89: of 50 parallel redemptions one succeeds, on both databases.
func TestRedeemParallel(t *testing.T) { redeemParallel(t, newBench(t)) }

func TestIntegrationRedeemParallelPostgres(t *testing.T) {
	redeemParallel(t, newBenchOn(t, pgtest.Start(t).Database(t)))
}

func redeemParallel(t *testing.T, b *bench) {
	t.Helper()
	code, _ := b.code("c1")
	good, bad := 0, 0
	for _, a := range parallel(50, func() reply { return b.token(redeem("c1", code)) }) {
		switch {
		case a.status == http.StatusOK:
			good++
		case a.status == http.StatusBadRequest && a.Code == "invalid_grant":
			bad++
		default:
			t.Errorf("answer is %d %s", a.status, a.raw)
		}
	}
	if good != 1 || bad != 49 {
		t.Errorf("%d × 200 and %d × 400, want 1 and 49", good, bad)
	}
}

func parallel(n int, do func() reply) []reply {
	answers, start := make([]reply, n), make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			answers[i] = do()
		})
	}
	close(start)
	wg.Wait()
	return answers
}

// TK-15: the setting on_scope, and a client without the grant type.
func TestRefreshTokenIsOptional(t *testing.T) {
	onScope := func(g *grants.Config, _ *tokens.Config) { g.RefreshOnScope = true }
	offline := func(c *store.Code) { c.Grant.Scopes = []string{"mcp", "offline_access"} }
	for _, tc := range []struct {
		name   string
		option []option
		code   []func(*store.Code)
		want   bool
	}{
		{"always", nil, nil, true},
		{"on scope, without", []option{onScope}, nil, false},
		{"on scope, with", []option{onScope}, []func(*store.Code){offline}, true},
		{"client without the grant type", []option{func(_ *grants.Config, c *tokens.Config) { c.Clients = codeOnly{c.Clients} }}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.option...)
			code, _ := b.code("c1", tc.code...)
			a := b.token(redeem("c1", code))
			if a.status != http.StatusOK || (a.Next != "") != tc.want {
				t.Errorf("answer is %d %s, want a refresh token: %v", a.status, a.raw, tc.want)
			}
		})
	}
}

// codeOnly is clients that registered for codes only.
type codeOnly struct{ tokens.Authenticator }

func (c codeOnly) Authenticate(ctx context.Context, r *http.Request, form url.Values) (*clients.Client, error) {
	one, err := c.Authenticator.Authenticate(ctx, r, form)
	if err != nil {
		return nil, err
	}
	copied := *one
	copied.Grants = []string{"authorization_code"}
	return &copied, nil
}

func TestGrantTypeNotAllowed(t *testing.T) {
	b := newBench(t, func(_ *grants.Config, c *tokens.Config) { c.Clients = codeOnly{c.Clients} })
	refused(t, b.token(renew("c1", mint("psr_"))), 400, "unauthorized_client")
}

func mint(prefix string) string {
	text, _ := ident.MintSecret(prefix)
	return text
}

func count(list []string, one string) int {
	n := 0
	for _, s := range list {
		if s == one {
			n++
		}
	}
	return n
}
