// SPDX-License-Identifier: Apache-2.0

package question

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestAnswerableBy is M-30 and M-59: what a client that declares some capabilities can be asked.
func TestAnswerableBy(t *testing.T) {
	form, page := Question{Elicit, []byte(`{"message":"m"}`)}, Question{Elicit, []byte(`{"mode":"\u0075rl","url":"https://x"}`)}
	sample, roots := Question{Sample, []byte(`{}`)}, Question{Method: Roots}
	for _, tt := range []struct {
		capabilities string
		want         []string
		ask          bool
	}{
		{``, nil, false},
		{`{}`, nil, false},
		{`{"elicitation":{}}`, []string{"form"}, true}, // one that names no mode means forms
		{`{"elicitation":{"form":{}}}`, []string{"form"}, true},
		{`{"elicitation":{"url":{}}}`, []string{"page"}, true},
		{`{"elicitation":{"url":{},"form":{}}}`, []string{"form", "page"}, true},
		{`{"elicitation":true,"sampling":null,"roots":[]}`, nil, false},
		{`{"sampling":{},"roots":{}}`, []string{"sample", "roots"}, true},
		{`{"Sampling":{}}`, nil, false},
	} {
		var got []string
		for _, q := range []struct {
			name string
			Question
		}{{"form", form}, {"page", page}, {"sample", sample}, {"roots", roots}, {"other", Question{Method: "other/ask"}}} {
			if q.AnswerableBy([]byte(tt.capabilities)) {
				got = append(got, q.name)
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.capabilities, d)
		}
		if CanAsk([]byte(tt.capabilities)) != tt.ask {
			t.Errorf("%s can be asked: %v", tt.capabilities, !tt.ask)
		}
	}
}

// TestKnowsURL: the mode exists since 2025-11-25.
func TestKnowsURL(t *testing.T) {
	for v, want := range map[wire.Version]bool{wire.V20260728: true, wire.V20251125: true, wire.V20250618: false} {
		if KnowsURL([]byte(`{"elicitation":{"url":{}}}`), v) != want {
			t.Errorf("%s: %v", v, !want)
		}
	}
}

// TestForms is mcp.md section 4: what the other era does not know of a question is added or taken away, and nothing else.
func TestForms(t *testing.T) {
	for _, tt := range []struct{ name, method, params, capabilities, modern string }{
		{"form", Elicit, `{ "message":"m", "x":1.0 }`, `{}`, `{ "message":"m", "x":1.0 }`},
		{"page", Elicit, `{"mode":"url", "elicitationId" : "e","x":1.0}`, `{}`, `{"mode":"url", "x":1.0}`},
		{"context", Sample, `{"includeContext":"allServers","maxTokens":1e2}`, `{"sampling":{}}`, `{"maxTokens":1e2}`},
		{"no context", Sample, `{"includeContext":"none"}`, `{"sampling":{}}`, `{"includeContext":"none"}`},
		{"context declared", Sample, `{"includeContext":"thisServer"}`, `{"sampling":{"context":{}}}`, `{"includeContext":"thisServer"}`},
		{"roots", Roots, ``, `{}`, ``},
		{"a key twice", Elicit, `{"a":1,"a":2}`, `{}`, `{"a":1,"a":2}`},
	} {
		q := Question{Method: tt.method}
		if tt.params != "" {
			q.Params = []byte(tt.params)
		}
		if got := string(q.ForModern([]byte(tt.capabilities)).Params); got != tt.modern {
			t.Errorf("%s, modern: %s, want %s", tt.name, got, tt.modern)
		}
	}
	page := Question{Elicit, []byte(`{"mode":"url","url":"https://x", "n":1.0}`)}
	first, second := page.ForLegacy(), page.ForLegacy()
	id, ok := wire.DecodeString(wire.Get(first.Params, "elicitationId"))
	if !ok || len(id) != 32 || string(first.Params) == string(second.Params) {
		t.Errorf("the page's id: %s, %s", first.Params, second.Params)
	}
	if back := string(first.ForModern(nil).Params); back != string(page.Params) {
		t.Errorf("there and back: %s", back)
	}
	for _, same := range []Question{first, {Elicit, []byte(`{"message":"m"}`)}, {Sample, []byte(`{"mode":"url"}`)}} {
		if got := same.ForLegacy(); string(got.Params) != string(same.Params) {
			t.Errorf("%s became %s", same.Params, got.Params)
		}
	}
}

// TestIsAnswer is M-79: what counts as an answer.
func TestIsAnswer(t *testing.T) {
	for _, tt := range []struct {
		method, raw string
		want        bool
	}{
		{Elicit, `{"action":"accept","content":{}}`, true},
		{Elicit, `{"action":"\u0063ancel"}`, true},
		{Elicit, `{"action":"decline"}`, true},
		{Elicit, `{"action":"perhaps"}`, false},
		{Elicit, `{}`, false},
		{Elicit, `"accept"`, false},
		{Sample, `{"role":"assistant","model":"m","content":{}}`, true},
		{Sample, `{"role":"assistant","model":"m","content":[]}`, true},
		{Sample, `{"role":"assistant","model":"m","content":"x"}`, false},
		{Sample, `{"role":"assistant","content":{}}`, false},
		{Sample, `{"model":"m","content":{}}`, false},
		{Roots, `{"roots":[]}`, true},
		{Roots, `{"roots":{}}`, false},
		{Roots, `[]`, false},
		{"other", `{}`, false},
	} {
		if got := (Question{Method: tt.method}).IsAnswer([]byte(tt.raw)); got != tt.want {
			t.Errorf("%s: IsAnswer(%s) = %v", tt.method, tt.raw, got)
		}
	}
}

// TestParse: entries come in their order, those that are no questions are refused.
func TestParse(t *testing.T) {
	keys, questions, ok := Parse([]byte(`{"b":{"method":"roots/list"},"a":{"params":{ "x":1.0 },"method":"elicitation/create","y":1}}`))
	want := []Question{{Method: Roots}, {Elicit, []byte(`{ "x":1.0 }`)}}
	if !ok || !cmp.Equal(keys, []string{"b", "a"}) || !cmp.Equal(questions, want) {
		t.Errorf("%v, %v, %v", keys, questions, ok)
	}
	if got := string(questions[1].Append(nil, `k"`)); got != `"k\"":{"method":"elicitation/create","params":{ "x":1.0 }}` {
		t.Errorf("written %s", got)
	}
	if got := string(questions[0].Append(nil, "k")); got != `"k":{"method":"roots/list"}` {
		t.Errorf("written %s", got)
	}
	for _, bad := range []string{`[]`, `{"a":1}`, `{"a":{}}`, `{"a":{"method":1}}`, `{"a":{"method":"m","params":[]}}`, `{"a":{"method":"m"},"a":{"method":"m"}}`, `{"a":{"method":"m","method":"m"}}`} {
		if _, _, ok := Parse([]byte(bad)); ok {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestUnanswered is M-81: what an upstream hears when nobody answers.
func TestUnanswered(t *testing.T) {
	for method, want := range map[string]string{
		Elicit: `{"action":"cancel"}`, Sample: `{"code":-1,"message":"The client did not answer"}`, Roots: `{"code":-32603,"message":"The client did not answer"}`,
	} {
		a := Question{Method: method}.Unanswered()
		if got := string(a.Result) + string(a.Error); got != want || (a.Result == nil) == (a.Error == nil) {
			t.Errorf("%s: %s", method, got)
		}
	}
}
