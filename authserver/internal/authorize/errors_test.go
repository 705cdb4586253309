// SPDX-License-Identifier: Apache-2.0

package authorize_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
)

// TestClientAndRedirectFirst is AZ-1, AZ-2 and the rows of §16 whose answer is a page.
func TestClientAndRedirectFirst(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	type params = url.Values
	p := authorizetest.Params
	twice := func(v params, name, value string) params { v.Add(name, value); return v }
	for name, c := range map[string]struct {
		ask    params
		status int
		text   string
	}{
		"1 unknown client":           {p("nobody", callback), 400, "client not registered – remove and re-add the server"},
		"1 unknown DCR client":       {p("dcr_GONE", callback), 400, "client not registered – remove and re-add the server"},
		"2 client_id missing":        {p("acme", callback, "client_id", ""), 400, "client_id"},
		"2 client_id empty":          {twice(p("acme", callback, "client_id", ""), "client_id", ""), 400, "client_id"},
		"2 client_id repeated":       {twice(p("acme", callback), "client_id", "acme"), 400, "client_id"},
		"disabled client":            {p("off", callback), 403, "not allowed here"},
		"http client_id":             {p("http://client.example/c.json", callback), 400, "client not registered"},
		"58 client_id without path":  {p("https://client.example", callback), 400, "invalid_client"},
		"58 client_id with a slash":  {p("https://client.example/", callback), 400, "invalid_client"},
		"59 client_id with userinfo": {p("https://u:p@client.example/c.json", callback), 400, "invalid_client"},
		"redirect missing of three":  {p("acme", callback, "redirect_uri", ""), 400, "not registered for it"},
		"redirect repeated":          {twice(p("acme", callback), "redirect_uri", callback), 400, "not registered for it"},
		"4 trailing slash":           {p("acme", "https://c.example/cb/"), 400, "not registered for it"},
		"5 further query":            {p("acme", "https://c.example/cb?x=1"), 400, "not registered for it"},
		"7 capital host":             {p("acme", "https://C.example/cb"), 400, "not registered for it"},
		"8 dot segments":             {p("acme", "https://c.example/cb/../evil"), 400, "not registered for it"},
		"8 escaped dot segments":     {p("acme", "https://c.example/cb/%2e%2e/evil"), 400, "not registered for it"},
		"10 fragment":                {p("acme", "https://c.example/cb#frag"), 400, "not registered for it"},
		"29 another loopback":        {p("acme", "http://[::1]:51004/callback"), 400, "not registered for it"},
		"31 another path":            {p("acme", "http://127.0.0.1:51004/other"), 400, "not registered for it"},
		"31 longer path":             {p("acme", "http://127.0.0.1:51004/callback/"), 400, "not registered for it"},
		"32 loopback with query":     {p("acme", "http://127.0.0.1:51004/callback?x=1"), 400, "not registered for it"},
		"34 loopback with fragment":  {p("acme", "http://127.0.0.1:51004/callback#f"), 400, "not registered for it"},
		"35 port 0":                  {p("acme", "http://127.0.0.1:0/callback"), 400, "not registered for it"},
		"35 port 70000":              {p("acme", "http://127.0.0.1:70000/callback"), 400, "not registered for it"},
		"35 port -1":                 {p("acme", "http://127.0.0.1:-1/callback"), 400, "not registered for it"},
		"37 registered over https":   {p("tls", "http://127.0.0.1:9/callback"), 400, "not registered for it"},
		"40 confidential client":     {p("secret", "http://127.0.0.1:51004/callback"), 400, "not registered for it"},
	} {
		t.Run(name, func(t *testing.T) {
			page(t, w.As("u1").Ask(c.ask), c.status, c.text)
		})
	}
	if refusals := w.Events("authorize.refused"); len(refusals) < 20 || refusals[0].RequestID != authorizetest.RequestID || refusals[0].IP != "192.0.2.7" {
		t.Errorf("%d refusals are recorded: %+v", len(refusals), refusals)
	}
}

// TestErrorsOnTheRedirect is the rest of the rows: the client is known, so the answer goes to it.
func TestErrorsOnTheRedirect(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	p := func(changes ...string) url.Values { return authorizetest.Params("acme", callback, changes...) }
	twice := func(name, value string) url.Values { v := p(); v.Add(name, value); return v }
	long := strings.Repeat("s", 2049)
	for name, c := range map[string]struct {
		ask         url.Values
		code, state string
	}{
		"11 token":                   {p("response_type", "token"), "unsupported_response_type", "st"},
		"11 id_token":                {p("response_type", "id_token"), "unsupported_response_type", "st"},
		"11 code token":              {p("response_type", "code token"), "unsupported_response_type", "st"},
		"response_type missing":      {p("response_type", ""), "invalid_request", "st"},
		"response_mode fragment":     {p("response_mode", "fragment"), "invalid_request", "st"},
		"response_mode form_post":    {p("response_mode", "form_post"), "invalid_request", "st"},
		"13 no challenge":            {p("code_challenge", ""), "invalid_request", "st"},
		"14 plain":                   {p("code_challenge_method", "plain"), "invalid_request", "st"},
		"14 no method":               {p("code_challenge_method", ""), "invalid_request", "st"},
		"challenge too short":        {p("code_challenge", authorizetest.Challenge[1:]), "invalid_request", "st"},
		"challenge too long":         {p("code_challenge", authorizetest.Challenge+"A"), "invalid_request", "st"},
		"challenge in base64":        {p("code_challenge", "+"+authorizetest.Challenge[1:]), "invalid_request", "st"},
		"16 unknown scope":           {p("scope", "nope"), "invalid_scope", "st"},
		"scope of another gateway":   {p("scope", "mcp:write", "resource", authorizetest.ResourceB), "invalid_scope", "st"},
		"request":                    {p("request", "ey.J.x"), "request_not_supported", "st"},
		"request_uri":                {p("request_uri", "urn:x"), "request_uri_not_supported", "st"},
		"prompt unknown":             {p("prompt", "select_account"), "invalid_request", "st"},
		"prompt none and login":      {p("prompt", "none login"), "invalid_request", "st"},
		"state too long":             {p("state", long), "invalid_request", long},
		"state repeated":             {twice("state", "two"), "invalid_request", ""},
		"scope repeated":             {twice("scope", "mcp"), "invalid_request", "st"},
		"unknown parameter repeated": {twice("nonce", "a"), "", ""},
		"resource repeated":          {twice("resource", authorizetest.ResourceA), "invalid_target", "st"},
		"resource unknown":           {p("resource", "https://gw.example.com/v1/mcp/none"), "invalid_target", "st"},
		"resource elsewhere":         {p("resource", "https://evil.example/v1/mcp/eng"), "invalid_target", "st"},
		"resource with fragment":     {p("resource", authorizetest.ResourceA+"#f"), "invalid_target", "st"},
		"resource relative":          {p("resource", "/v1/mcp/eng"), "invalid_target", "st"},
		"resource over http":         {p("resource", "http://gw.example.com/v1/mcp/eng"), "invalid_target", "st"},
		"resource with two slashes":  {p("resource", authorizetest.ResourceA+"//"), "invalid_target", "st"},
		"no state sent":              {p("scope", "nope", "state", ""), "invalid_scope", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.code == "" {
				c.ask.Add("nonce", "b")
				refused(t, w.As("u1").Ask(c.ask), "invalid_request", "st")
				return
			}
			a := w.As("u1").Ask(c.ask)
			refused(t, a, c.code, c.state)
			if _, v := a.Location(); v.Has("state") != (c.state != "") {
				t.Errorf("the state in %v was not sent", v)
			}
			refused(t, w.Browser().Ask(c.ask), c.code, c.state) // and nobody need be logged in
		})
	}
}

func TestStoreDown(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	mend := w.Break()
	refused(t, b.Ask(authorizetest.Params("acme", callback)), "temporarily_unavailable", "st")
	mend()
	if a := b.Ask(authorizetest.Params("acme", callback)); a.Request() == "" {
		t.Errorf("when the store is back: %d", a.Status)
	}
}

func TestBeforeTheDirectory(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	w.View = nil
	a := b.Ask(authorizetest.Params("acme", callback))
	page(t, a, 503, "Not available")
	if a.Header.Get("Retry-After") == "" {
		t.Error("the page does not say when to try again")
	}
}
