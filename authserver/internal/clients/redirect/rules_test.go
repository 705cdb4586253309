// SPDX-License-Identifier: Apache-2.0

package redirect_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
)

func TestRules(t *testing.T) {
	rules, err := redirect.NewRules([]string{"com.example.app:/oauth"})
	if err != nil {
		t.Fatal(err)
	}
	const refused = redirect.Kind(0)
	for uri, want := range map[string]redirect.Kind{
		"https://c.example/cb":              redirect.HTTPS,
		"https://c.example":                 redirect.HTTPS,
		"https://c.example:8443/cb?x=1":     redirect.HTTPS,
		"https://10.0.0.7/cb":               redirect.HTTPS,
		"https://localhost:3000/cb":         redirect.HTTPS,
		"https://c.example/cb?next=/a/../b": redirect.HTTPS,
		"https://c.example/a..b/.well":      redirect.HTTPS,
		"http://127.0.0.1/cb":               redirect.Loopback,
		"http://[::1]:9/cb":                 redirect.Loopback,
		"http://localhost":                  redirect.Loopback,

		"cursor://anysphere.cursor-mcp/oauth/callback": redirect.Private,
		"com.example.app:/oauth":                       redirect.Private,

		"": refused, "/cb": refused, "c.example/cb": refused, "//c.example/cb": refused, "https:c.example/cb": refused,
		"https:///cb": refused, "https://": refused, "HTTPS://c.example/cb": refused, "Http://localhost/cb": refused,
		"http://example.com/cb": refused, "http://192.168.1.1/cb": refused, "http://127.0.0.2/cb": refused, "http://LOCALHOST/cb": refused,
		"http://localhost./cb": refused, "http://localhost:0/cb": refused, "http://localhost:70000/cb": refused, "http://0.0.0.0/cb": refused,
		"https://c.example:0/cb": refused, "https://c.example:/cb": refused,
		"https://u@c.example/cb": refused, "https://u:p@c.example/cb": refused, "http://u@localhost/cb": refused,
		"https://c.example/cb#f": refused, "https://c.example/cb#": refused, "http://localhost/cb#f": refused,
		"https://c.example/a/../cb": refused, "https://c.example/./cb": refused, "https://c.example/%2e%2E/cb": refused,
		"https://c.example/a%2f..%2fcb": refused, "https://c.example/..": refused,
		"https://*.example/cb": refused, "https://c.example/*": refused, "https://c.example/c b": refused, "https://c.example/c\nb": refused,
		"https://c.example/c\x00b": refused, "https://c.example\\cb": refused, "https://ćc.example/cb": refused,
		"https://2130706433/cb": refused, "https://0x7f.1/cb": refused, "https://169.254.169.254/cb": refused,

		"evilapp://cb": refused, "cursor://anysphere.cursor-mcp/oauth/callback/": refused, "cursor://anysphere.cursor-mcp/oauth/callback?x": refused,
		"CURSOR://anysphere.cursor-mcp/oauth/callback": refused, "com.example.app:/other": refused,
	} {
		if got, err := rules.Check(uri); got != want || (err == nil) != (want != refused) {
			t.Errorf("%q: got %d (%v), want %d", uri, got, err, want)
		}
	}
	for n, want := range map[int]redirect.Kind{redirect.MaxLength: redirect.HTTPS, redirect.MaxLength + 1: refused} {
		uri := "https://c.example/"
		uri += strings.Repeat("a", n-len(uri))
		if got, err := rules.Check(uri); got != want {
			t.Errorf("%d bytes: got %d (%v), want %d", n, got, err, want)
		}
	}
}

// REG-7: no setting allows these, in any spelling.
func TestForbiddenSchemes(t *testing.T) {
	for _, scheme := range []string{
		"javascript", "data", "file", "blob", "about", "vbscript", "view-source", "ftp", "ws", "wss", "intent", "JavaScript", "DATA",
	} {
		for _, rest := range []string{":alert(1)", "://c.example/cb", ":text/html,x"} {
			uri := scheme + rest
			if _, err := (redirect.Rules{AnyPrivate: true}).Check(uri); err == nil {
				t.Errorf("%q is allowed", uri)
			}
			if _, err := redirect.NewRules([]string{uri}); err == nil {
				t.Errorf("a setting allows %q", uri)
			}
		}
	}
	if _, err := redirect.NewRules([]string{"https://c.example/cb"}); err == nil {
		t.Error("an https URI passes for a private-use one")
	}
}

func TestErrorsGoOntoTheWire(t *testing.T) {
	for _, r := range rows(t) {
		if _, err := (redirect.Rules{}).Check(r.Requested); err != nil && strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
			t.Errorf("%q: %q is no error_description", r.Requested, err)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for uri, want := range map[string]bool{
		"https://localhost/cb": true, "https://LOCALHOST:3000": true, "https://x.localhost/": true, "https://localhost.": true, "https://127.0.0.9:1?x": true,
		"https://[::1]:8/": true, "http://[::1]": true, "https://c.example/localhost": false, "https://localhost.example/": false, "https://[2606::1]/": false,
	} {
		if got := redirect.IsLoopback(uri); got != want {
			t.Errorf("%q: got %t, want %t", uri, got, want)
		}
	}
}
