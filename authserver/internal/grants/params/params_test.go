// SPDX-License-Identifier: Apache-2.0

package params_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/grants/params"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

func form() []string { return []string{"application/x-www-form-urlencoded"} }

func TestParse(t *testing.T) {
	got, err := params.Parse(form(), "", []byte("a=1&b=&resource=&resource=x&c=%C3%A4+b"))
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{"a": {"1"}, "resource": {"", "x"}, "c": {"ä b"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, tc := range map[string]struct {
		types []string
		query string
		body  string
	}{
		"query":             {form(), "x=1", "a=1"},
		"twice":             {form(), "", "a=1&a=1"},
		"twice, once empty": {form(), "", "a=1&a="},
		"no content type":   {nil, "", "a=1"},
		"two content types": {append(form(), form()...), "", "a=1"},
		"other type":        {[]string{"text/plain"}, "", "a=1"},
		"broken type":       {[]string{"application/x-www-form-urlencoded; ="}, "", "a=1"},
		"NUL":               {form(), "", "a=%00"},
		"line end in name":  {form(), "", "a%0A=1"},
		"no UTF-8":          {form(), "", "a=%C3"},
		"semicolon":         {form(), "", "a=1;b=2"},
		"escape":            {form(), "", "a=%"},
	} {
		if _, err := params.Parse(tc.types, tc.query, []byte(tc.body)); code(err) != oauthfault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRead(t *testing.T) {
	raw, err := params.Read(strings.NewReader(strings.Repeat("a", params.MaxBody)))
	if err != nil || len(raw) != params.MaxBody {
		t.Errorf("the longest body: %d bytes, %v", len(raw), err)
	}
	_, err = params.Read(strings.NewReader(strings.Repeat("a", params.MaxBody+1)))
	if refused, ok := errors.AsType[*oauthfault.Error](err); !ok || refused.Status != 413 {
		t.Errorf("a longer body: %v", err)
	}
}

func TestScopes(t *testing.T) {
	got, err := params.Scopes(" mcp  mcp:write mcp ")
	if err != nil || !slices.Equal(got, []string{"mcp", "mcp:write"}) {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{`a"`, `a\`, "ä", "a\tb"} {
		if _, err := params.Scopes(text); code(err) != oauthfault.InvalidScope {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func code(err error) oauthfault.Code {
	if refused, ok := errors.AsType[*oauthfault.Error](err); ok {
		return refused.Code
	}
	return ""
}

// What is accepted holds every parameter once, in characters that can be stored and logged; what is refused is an
// invalid_request.
func FuzzParse(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "", []byte("grant_type=authorization_code&code=psa_x&resource=a&resource=b"))
	f.Add("application/x-www-form-urlencoded;charset=utf-8", "", []byte("a=1&a=2"))
	f.Add("application/json", "", []byte(`{"a":1}`))
	f.Add("application/x-www-form-urlencoded", "a=1", []byte("%00=%ff;&&=&"))
	f.Fuzz(func(t *testing.T, contentType, query string, body []byte) {
		got, err := params.Parse([]string{contentType}, query, body)
		if err != nil {
			if code(err) != oauthfault.InvalidRequest {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if query != "" {
			t.Fatal("a query is accepted")
		}
		for name, values := range got {
			repeatable := name == "resource" || name == "audience"
			if len(values) != 1 && !repeatable || values[0] == "" && !repeatable {
				t.Fatalf("%q has %q", name, values)
			}
			for _, s := range append(values, name) {
				if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\r\n\x7f") {
					t.Fatalf("%q is accepted", s)
				}
			}
		}
		if _, err := params.Scopes(got.Get("scope")); err != nil && code(err) != oauthfault.InvalidScope {
			t.Fatal(err)
		}
	})
}
