// SPDX-License-Identifier: Apache-2.0

package capability_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/capability"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

func TestCanAnswer(t *testing.T) {
	const form, link = `{"message":"m"}`, `{"mode":"url","message":"m"}`
	for _, tt := range []struct {
		name, declared, method, params string
		want                           bool
	}{
		{"nothing declared", ``, "roots/list", ``, false},
		{"empty", `{}`, "roots/list", ``, false},
		{"roots", `{"roots":{"listChanged":true}}`, "roots/list", ``, true},
		{"roots that are no object", `{"roots":true}`, "roots/list", ``, false},
		{"sampling", `{"sampling":{}}`, "sampling/createMessage", `{}`, true},
		{"sampling for roots", `{"sampling":{}}`, "roots/list", ``, false},
		{"forms by default", `{"elicitation":{}}`, "elicitation/create", form, true},
		{"forms by name", `{"elicitation":{"form":{},"url":{}}}`, "elicitation/create", `{"mode":"form"}`, true},
		{"forms, only links declared", `{"elicitation":{"url":{}}}`, "elicitation/create", form, false},
		{"links", `{"elicitation":{"url":{}}}`, "elicitation/create", link, true},
		{"links, only forms declared", `{"elicitation":{"form":{}}}`, "elicitation/create", link, false},
		{"links, no mode declared", `{"elicitation":{}}`, "elicitation/create", link, false},
		{"without params", `{"elicitation":{}}`, "elicitation/create", ``, true},
		{"a method that nobody knows", `{"ping":{}}`, "ping", ``, false},
		{"a member twice", `{"roots":{},"roots":{}}`, "roots/list", ``, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := capability.CanAnswer([]byte(tt.declared), tt.method, []byte(tt.params)); got != tt.want {
				t.Errorf("CanAnswer = %t", got)
			}
		})
	}
}

func TestExtension(t *testing.T) {
	for declared, want := range map[string]bool{
		`{"extensions":{"a/b":{}}}`: true, `{"extensions":{"a/b":{"x":1}}}`: true, `{"extensions":{"a/b":null}}`: false,
		`{"extensions":{"a/c":{}}}`: false, `{"a/b":{}}`: false, `{}`: false, `[]`: false, ``: false,
	} {
		if got := capability.Extension([]byte(declared), "a/b"); got != want {
			t.Errorf("Extension(%s) = %t", declared, got)
		}
	}
}

// TestCheck is M-10: a key that stands twice in an object that is read is refused, and elsewhere left alone.
func TestCheck(t *testing.T) {
	for declared, wrong := range map[string]bool{
		``: false, `{}`: false, `{"roots":{},"Roots":{}}`: false, `{"extensions":{"a/b":{"x":1,"x":2}}}`: false, `{"roots":[{"x":1,"x":2}]}`: false,
		`{"roots":{},"roots":{}}`: true, `{"roots":{},"r\u006fots":null}`: true, `{"elicitation":{"form":{},"form":{}}}`: true,
		`{"extensions":{"a/b":{},"a/b":{}}}`: true, `{"roots":{},"sampling":{"x":1,"x":1},"x":{}}`: true,
	} {
		if err := capability.Check([]byte(declared)); (err != nil) != wrong || (wrong && wire.CodeOf(err) != wire.CodeInvalidRequest) {
			t.Errorf("Check(%s) = %v", declared, err)
		}
	}
	raw := []byte(`{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}`)
	if n := testing.AllocsPerRun(100, func() { _ = capability.Check(raw) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
