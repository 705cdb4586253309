// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/filter"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func known(field string) string {
	if strings.HasPrefix(field, "labels.") || field == "name" || field == "server" {
		return ""
	}
	return "there is no field " + field
}

func TestParse(t *testing.T) {
	for _, tc := range []struct{ text, problem string }{
		{"", ""},
		{"  \t", ""},
		{`name = "a"`, ""},
		{`name="a"AND server!="b"`, ""},
		{`labels.a-b/c : "x" AND name = "with \"quotes\" and \\ too"`, ""},
		{"name", "at character 5: expected =, != or :"},
		{`= "a"`, "at character 1: expected a field"},
		{`name = a`, "at character 8: expected a value in double quotes"},
		{`name = "a`, "at character 8: the quote is not closed"},
		{`name = "a\n"`, "at character 11: expected"},
		{`name = "a` + "\\", "at character 11: expected"},
		{`name = "a" or server = "b"`, "at character 12: expected AND or the end"},
		{`name = "a" AND`, "at character 15: expected a field"},
		{`name > "a"`, "at character 6: expected =, != or :"},
		{`nam = "a"`, "at character 1: there is no field nam"},
		{`name = "ü" AND x = "a"`, "at character 16: there is no field x"},
		{strings.Repeat("x", 3000), "more than 2048 bytes"},
		{strings.Repeat(`name="a" AND `, 16) + `name="a"`, "more than 16 conditions"},
	} {
		t.Run(tc.text[:min(len(tc.text), 40)], func(t *testing.T) {
			_, err := filter.Parse(tc.text, known)
			if tc.problem == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || f.Reason != filter.ReasonInvalidFilter || !strings.Contains(f.Public, tc.problem) {
				t.Fatalf("%v; want %q", err, tc.problem)
			}
		})
	}
}

func TestMatches(t *testing.T) {
	values := map[string]string{"name": "Ada", "server": "files", "labels.env": "prod"}
	for _, tc := range []struct {
		text string
		want bool
	}{
		{"", true},
		{`name = "Ada"`, true},
		{`name = "ada"`, false},
		{`name : "DA"`, true},
		{`name != "Bob"`, true},
		{`labels.x != "y"`, true},
		{`labels.x = ""`, true},
		{`name = "Ada" AND labels.env = "dev"`, false},
	} {
		f, err := filter.Parse(tc.text, known)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Matches(func(field string) string { return values[field] }); got != tc.want {
			t.Errorf("%s: %v", tc.text, got)
		}
	}
	f, err := filter.Parse(`name != "x" AND server = "files"`, known)
	if v, ok := f.Equal("server"); err != nil || !ok || v != "files" {
		t.Errorf("Equal = %q, %v, %v", v, ok, err)
	}
	if _, ok := f.Equal("name"); ok {
		t.Error("Equal takes != for =")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`name = "a" AND server : "b"`, `labels.x!="\\"`, "\x00", `name="`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := filter.Parse(s, known); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func TestPageToken(t *testing.T) {
	of := filter.Request{Kind: "server", Filter: `name : "a"`}
	for _, after := range []string{"a", "files/read", "ü@example.com"} {
		got, err := of.After(of.Token(after))
		if err != nil || got != after {
			t.Errorf("%q came back as %q, %v", after, got, err)
		}
	}
	for name, other := range map[string]filter.Request{
		"kind": {Kind: "tool", Filter: of.Filter}, "filter": {Kind: "server"}, "deleted": {Kind: "server", Filter: of.Filter, Deleted: true},
	} {
		if _, err := other.After(of.Token("a")); fault.KindOf(err) != fault.Invalid {
			t.Errorf("another %s: %v", name, err)
		}
	}
	for _, bad := range []string{"x", "!", "e30", "bnVsbA"} {
		if _, err := of.After(bad); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, err := of.After(""); got != "" || err != nil {
		t.Errorf("no token: %q, %v", got, err)
	}
}
