// SPDX-License-Identifier: Apache-2.0

package oauthrule

import (
	"strings"
	"testing"
)

// TestRedirects is REG-6, REG-7 and the redirect part of AZ-14.
func TestRedirects(t *testing.T) {
	for _, tt := range []struct{ uri, want, trusted string }{
		{"https://app.example/cb", "", ""},
		{"https://app.example:8443/cb?a=b", "", ""},
		{"https://127.0.0.1/cb", "", ""},
		{"http://127.0.0.1/callback", "", ""},
		{"http://127.0.0.1:33418/", "", ""},
		{"http://[::1]:1/cb", "", ""},
		{"http://localhost/callback", "", ""},
		{"cursor://anysphere.cursor-mcp/oauth/callback", "", "any program may claim"},
		{"com.example.app:/cb", "", "any program may claim"},
		{"http://example.com/cb", "http is for", "http is for"},
		{"http://192.168.1.1/cb", "http is for", "http is for"},
		{"http://localhost.evil.example/cb", "http is for", "http is for"},
		{"http://127.0.0.2/cb", "http is for", "http is for"},
		{"javascript:alert(1)", "never redirected", "never redirected"},
		{"data:text/html,x", "never redirected", "never redirected"},
		{"view-source:https://a.example/", "never redirected", "never redirected"},
		{"JavaScript:alert(1)", "small letters", "small letters"},
		{"https://app.example/cb#f", "fragment", "fragment"},
		{"https://app.example/*", "wildcard", "wildcard"},
		{"https://*.example/cb", "wildcard", "wildcard"},
		{"https://u:p@app.example/cb", "user name", "user name"},
		{"https://app.example/a/../cb", "dot segment", "dot segment"},
		{"https://app.example/%2e%2e/cb", "dot segment", "dot segment"},
		{"https://app.example:0/cb", "port", "port"},
		{"https://app.example:70000/cb", "port", "port"},
		{"https://app.example:/cb", "port", "port"},
		{"https:///cb", "no host", "no host"},
		{"https:app.example", "no host", "no host"},
		{"/cb", "absolute", "absolute"},
		{"app:", "absolute", "absolute"},
		{"", "not a URI", "not a URI"},
		{"https://app.example/\ncb", "not a URI", "not a URI"},
		{"https://app.example\\@evil.example/", "not a URI", "not a URI"},
		{"https://app.example/é", "not a URI", "not a URI"},
		{"https://app.example/" + strings.Repeat("a", maxURI), "not a URI", "not a URI"},
	} {
		for _, trusted := range []bool{false, true} {
			want := tt.want
			if trusted {
				want = tt.trusted
			}
			if got := RedirectProblem(tt.uri, trusted); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%.60q, trusted %t: got %q, want %q", tt.uri, trusted, got, want)
			}
		}
	}
}

func TestKeySets(t *testing.T) {
	for text, want := range map[string]string{
		`{"keys":[{"kty":"RSA","n":"AQ","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","kid":"a"},{"kty":"OKP","crv":"Ed25519","x":"AQ"}]}`: "",
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","d":"AQ"}]}`:                                                                           "key 0 is a private key",
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQ"},{"kty":"OKP","d":"","x":"AQ"}]}`:                                                            "key 1 is a private key",
		`{"keys":[{"kty":"oct","k":"AQ"}]}`:           "shared secret",
		`{"keys":[{"kty":"AKP","pub":"AQ"}]}`:         "RSA, EC or OKP",
		`{"keys":[{"kty":7}]}`:                        "RSA, EC or OKP",
		`{"keys":[{"kty":"RSA","n":"AQ"}]}`:           "lacks one of n, e",
		`{"keys":[{"kty":"RSA","n":"AQ","e":65537}]}`: "lacks one of n, e",
		`{"keys":[]}`: "no key",
		`{}`:          "no key",
		`[]`:          "not the JSON",
		`{"keys":[`:   "not the JSON",
		`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", maxKeySet) + `","e":"AQAB"}]}`: "not the JSON",
	} {
		got := strings.Join(KeySetProblems(text), "; ")
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.80s: got %q, want %q", text, got, want)
		}
	}
}
