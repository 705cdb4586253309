// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestNothingLeaks is G-21: to a caller, a gateway with tools that were taken away is one that never had them. Whatever is searched
// or run, counts, names, hints, close matches and refusals are the same, and no word of a hidden tool stands anywhere.
func TestNothingLeaks(t *testing.T) {
	s := open(t, search.Config{})
	nothingLeaks(t, s, func() {})
}

// TestNothingLeaksByMeaning is the same where vectors re-rank: those of hidden tools change no order and no count, and that the endpoint
// has none for them keeps nobody from being re-ranked.
func TestNothingLeaksByMeaning(t *testing.T) {
	for refuses, settle := range map[string]func(){
		"": synctest.Wait,
		"zq": func() { // one request after the other fails, with a pause after each
			time.Sleep(10 * time.Minute)
			synctest.Wait()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			v, e := vectors(t)
			e.refuses = refuses
			nothingLeaks(bubbled{t}, open(t, search.Config{Vectors: v}), settle)
			if e.reranked(t) < 50 {
				t.Errorf("%d searches were re-ranked", e.reranked(t))
			}
		})
	}
}

// bubbled is a test in a bubble, where nobody may ask for its deadline.
type bubbled struct{ rapid.TB }

// nothingLeaks checks s; settle returns when the vectors of an index are there, after its first search.
func nothingLeaks(t rapid.TB, s *search.Search, settle func()) {
	t.Helper()
	words := []string{"issue", "branch", "meeting", "ticket", "calendar", "repository", "weather", "invoice"}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom(words)
		var all, visible []*view.Tool
		var denied []view.Key
		hiddenServers := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"alpha", "beta", "gamma"}), func(s string) string { return s }).Draw(t, "hidden servers")
		for i := range rapid.IntRange(0, 12).Draw(t, "tools") {
			server := rapid.SampledFrom([]string{"alpha", "beta", "gamma", "delta"}).Draw(t, "server")
			by := rapid.SampledFrom([]string{"", "", "tool", "assignment"}).Draw(t, "denied by")
			secret := ""
			if by != "" || slices.Contains(hiddenServers, server) {
				secret = fmt.Sprintf("zq%dzq", i)
			}
			name := fmt.Sprintf("%s_%s%d%s", word.Draw(t, "verb"), word.Draw(t, "noun"), i%3, secret)
			one := tool(server, name, fmt.Sprintf(`,"description":"%s %s","inputSchema":{"type":"object","properties":{"%s%s":{"type":"string"}},"required":["%s%s"]}`,
				word.Draw(t, "description"), secret, word.Draw(t, "argument"), secret, "need", secret))
			if slices.ContainsFunc(all, func(o *view.Tool) bool { return o.Exposed == one.Exposed }) {
				continue
			}
			all = append(all, one)
			switch {
			case secret == "":
				visible = append(visible, one)
			case by == "tool":
				denied = append(denied, view.Key{Kind: "tool", Name: one.Name})
			case by == "assignment":
				denied = append(denied, view.Key{Kind: "assignment", Name: "g/" + one.Name})
			}
		}
		for _, s := range hiddenServers {
			denied = append(denied, view.Key{Kind: "server", Name: s})
		}
		with, without := publish(slices.Clone(all)...), publish(slices.Clone(visible)...)
		with.Deny(2, denied)

		asked := rapid.SampledFrom(append([]string{"alpha", "zq1zq", "create"}, words...))
		query := asked.Draw(t, "query") + " " + asked.Draw(t, "more")
		if len(all) > 0 && rapid.Bool().Draw(t, "a name") {
			query = rapid.SampledFrom(all).Draw(t, "named").Upstream
		}
		server := rapid.SampledFrom([]string{"", `,"server":"alpha"`, `,"server":"delta"`}).Draw(t, "only")
		version := rapid.SampledFrom([]wire.Version{wire.V20251125, wire.Latest}).Draw(t, "version")
		for _, gateway := range []*view.Holder{with, without} {
			find(t, s, caller(gateway, version), only(query, ""), available)
		}
		settle()
		a, raw := find(t, s, caller(with, version), only(query, `,"limit":20`+server), available)
		b, _ := find(t, s, caller(without, version), only(query, `,"limit":20`+server), available)
		if diff := cmp.Diff(b, a); diff != "" {
			t.Fatalf("%s differs (-without +with what is hidden):\n%s", query, diff)
		}
		clean(t, raw, query)

		name := query
		if len(all) > 0 && rapid.Bool().Draw(t, "run a tool") {
			name = rapid.SampledFrom(all).Draw(t, "run").Exposed
		}
		order := fmt.Sprintf(`{"tool_name":%q,"arguments":{"x":1}}`, name)
		x, err := s.Open(caller(with, version), []byte(order))
		y, err2 := s.Open(caller(without, version), []byte(order))
		if err != nil || err2 != nil || x.Tool != y.Tool {
			t.Fatalf("%s runs %v, want %v; %v %v", name, x.Tool, y.Tool, err, err2)
		}
		if x.Tool == nil {
			clean(t, string(x.Refusal), name)
			_, e := refusal(t, x.Refusal)
			_, f := refusal(t, y.Refusal)
			if e.Type != f.Type || len(e.Problems) != len(f.Problems) {
				t.Fatalf("%s is refused with\n%s, want\n%s", name, x.Refusal, y.Refusal)
			}
		}
	})
}

// clean fails if a word of a hidden tool stands in what a caller got, but for those that it has sent itself.
func clean(t failer, got, sent string) {
	t.Helper()
	rest := strings.ReplaceAll(strings.ToLower(got), strings.ToLower(sent), "")
	for _, word := range words(sent) {
		rest = strings.ReplaceAll(rest, word, "")
	}
	if strings.Contains(rest, "zq") {
		t.Fatalf("something that is hidden stands in %s", got)
	}
}

// words are the parts of what a caller sent, the longest first.
func words(sent string) []string {
	out := strings.FieldsFunc(strings.ToLower(sent), func(r rune) bool { return r == '_' || r == ' ' })
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}
