// SPDX-License-Identifier: Apache-2.0

package metadata_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
)

const good = `{"client_name":"C","redirect_uris":["https://c.example/cb"]`

func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for name, body := range map[string]string{
		"empty": ``, "null": `null`, "array": `[` + good + `}]`, "text": `"x"`, "two values": good + `}{}`, "rest": good + `} x`,
		"not UTF-8": good + ",\"x\":\"\xff\"}", "NaN": good + `,"x":NaN}`, "comment": good + `,/**/"x":1}`, "trailing comma": good + `,}`,
		"byte order mark": "\ufeff" + good + `}`,
		"depth 1000":      good + `,"x":` + deep + `}`, "depth 17": good + `,"x":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`,
		"client_id twice": good + `,"client_id":"a","client_id":"b"}`, "a key twice inside": good + `,"x":{"a":1,"a":2}}`,
		"escaped key twice":    good + `,"client_id":"a","client\u005fid":"b"}`,
		"name a number":        `{"client_name":1,"redirect_uris":["https://c.example/cb"]}`,
		"name too long":        `{"client_name":"` + strings.Repeat("é", 257) + `","redirect_uris":["https://c.example/cb"]}`,
		"name with a newline":  `{"client_name":"a\nb","redirect_uris":["https://c.example/cb"]}`,
		"name of a filler":     `{"client_name":"\u3164","redirect_uris":["https://c.example/cb"]}`,
		"name with a joiner":   `{"client_name":"a\u034fb","redirect_uris":["https://c.example/cb"]}`,
		"name of blanks":       `{"client_name":"\u2800","redirect_uris":["https://c.example/cb"]}`,
		"name right to left":   `{"client_name":"a\u202eb","redirect_uris":["https://c.example/cb"]}`,
		"software_id too long": good + `,"software_id":"` + strings.Repeat("a", 257) + `"}`, "software_id not ASCII": good + `,"software_id":"é"}`,
		"scope too long": good + `,"scope":"` + strings.Repeat("a", 1025) + `"}`, "scope with a quote": good + `,"scope":"a\"b"}`, "scope a list": good + `,"scope":["mcp"]}`,
		"grant_types a text": good + `,"grant_types":"authorization_code"}`, "too many grant_types": good + `,"grant_types":[` + strings.Repeat(`"a",`, 64) + `"b"]}`,
		"jwks and jwks_uri": good + `,"jwks":{"keys":[]},"jwks_uri":"https://c.example/j"}`, "jwks a list": good + `,"jwks":[]}`,
		"no redirect_uris": `{}`, "redirect_uris null": `{"redirect_uris":null}`, "redirect_uris empty": `{"redirect_uris":[]}`, "redirect_uris a text": `{"redirect_uris":"https://c.example/cb"}`,
		"redirect_uris numbers": `{"redirect_uris":[1]}`, "three redirect_uris": `{"redirect_uris":["a","b","c"]}`,
		"REDIRECT_URIS": `{"REDIRECT_URIS":["https://c.example/cb"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := metadata.Parse([]byte(body), 2)
			if err == nil {
				t.Fatalf("got %+v", c)
			}
			redirects := strings.Contains(strings.ToLower(name), "redirect_uris")
			if errors.Is(err, metadata.ErrRedirect) != redirects {
				t.Errorf("%v: about redirect URIs: want %t", err, redirects)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				t.Errorf("%q is no error_description", err)
			}
		})
	}
}

func TestParse(t *testing.T) {
	both := []string{"authorization_code", "refresh_token"}
	uris := []string{"https://c.example/cb"}
	for name, tc := range map[string]struct {
		body string
		want metadata.Client
	}{
		"little": {good + `}`, metadata.Client{Name: "C", RedirectURIs: uris, Grants: both, Responses: []string{"code"}}},
		"unknown members": {
			good + `,"resource":"x","application_type":"native","logo_uri":"javascript:x","n":1e400}`,
			metadata.Client{Name: "C", RedirectURIs: uris, Grants: both, Responses: []string{"code"}},
		},
		"nulls": {
			good + `,"grant_types":null,"scope":null,"client_secret":null,"jwks":null}`,
			metadata.Client{Name: "C", RedirectURIs: uris, Grants: both, Responses: []string{"code"}},
		},
		"unsupported grants dropped": {
			good + `,"grant_types":["urn:ietf:params:oauth:grant-type:device_code","authorization_code"],"response_types":["token","code"]}`,
			metadata.Client{Name: "C", RedirectURIs: uris, Grants: both[:1], Responses: []string{"code"}},
		},
		"no supported grant": {
			good + `,"grant_types":["implicit"],"response_types":["token"]}`,
			metadata.Client{Name: "C", RedirectURIs: uris, Grants: []string{}},
		},
		"statement and secret": {
			good + `,"software_statement":"x.y.z","client_secret_expires_at":0}`,
			metadata.Client{Name: "C", RedirectURIs: uris, Grants: both, Responses: []string{"code"}, Statement: true, Secret: true},
		},
		"all": {
			good + `,"client_id":"i","token_endpoint_auth_method":"none","token_endpoint_auth_methods_supported":["none"],"scope":"a b",` +
				`"jwks_uri":"https://c.example/j","software_id":"s","software_version":"1"}`,
			metadata.Client{
				ID: "i", Name: "C", RedirectURIs: uris, Method: "none", Methods: []string{"none"}, Grants: both, Responses: []string{"code"},
				Scope: "a b", JWKSURI: "https://c.example/j", SoftwareID: "s", SoftwareVersion: "1",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := metadata.Parse([]byte(tc.body), 1)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&tc.want, got); d != "" {
				t.Errorf("want → got:\n%s", d)
			}
			stored, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Grants) == 0 || len(got.Responses) == 0 || got.Statement || got.Secret {
				return // is not stored
			}
			again, err := metadata.Parse(stored, 1)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(got, again); d != "" {
				t.Errorf("stored → read:\n%s", d)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	allowed := []string{"mcp", "read", "offline_access"}
	for scope, want := range map[string]string{
		"": "", "mcp": "mcp", "read mcp read": "read mcp", "openid profile": "", "openid mcp": "mcp", "  read  ": "read",
	} {
		c := metadata.Client{Scope: scope}
		if got := strings.Join(c.Scopes(allowed), " "); got != want {
			t.Errorf("%q: got %q, want %q", scope, got, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	base := metadata.Client{Name: "C", RedirectURIs: []string{"a", "b"}, Grants: []string{"authorization_code"}}
	for name, tc := range map[string]struct {
		change func(*metadata.Client)
		same   bool
	}{
		"nothing":     {func(*metadata.Client) {}, true},
		"order":       {func(c *metadata.Client) { c.RedirectURIs = []string{"b", "a"} }, true},
		"name":        {func(c *metadata.Client) { c.Name = "D" }, false},
		"redirect":    {func(c *metadata.Client) { c.RedirectURIs = []string{"a"} }, false},
		"software_id": {func(c *metadata.Client) { c.SoftwareID = "s" }, false},
		"scope":       {func(c *metadata.Client) { c.Scope = "mcp" }, false},
		"grants":      {func(c *metadata.Client) { c.Grants = nil }, false},
		"keys":        {func(c *metadata.Client) { c.JWKSURI = "https://c.example/j" }, false},
	} {
		changed := base
		tc.change(&changed)
		if got := changed.Fingerprint() == base.Fingerprint(); got != tc.same {
			t.Errorf("%s: the same %t, want %t", name, got, tc.same)
		}
	}
	if base.RedirectURIs[0] != "a" {
		t.Error("the fingerprint sorts the client's own list")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good + `}`))
	f.Add([]byte(good + `,"jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"","y":""}]},"x":{"a":[1,{}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := metadata.Parse(body, 10)
		if err != nil {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			t.Fatalf("accepted what is no JSON object: %v", err)
		}
		again, err := metadata.Parse(body, 10)
		if err != nil || again.Fingerprint() != c.Fingerprint() || len(c.RedirectURIs) == 0 {
			t.Fatalf("no redirect URIs, or no steady fingerprint (%v)", err)
		}
	})
}
