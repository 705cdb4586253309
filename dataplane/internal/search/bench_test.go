// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// BenchmarkFind is P-11: search_tools over 10,000 tools, for a caller who sees all and for one who does not.
func BenchmarkFind(b *testing.B) {
	verbs, nouns := []string{"create", "list", "delete", "update", "merge"}, []string{"issue", "branch", "invoice", "meeting", "page"}
	var tools []*view.Tool
	for i := range 10_000 {
		verb, noun := verbs[i%len(verbs)], nouns[i/len(verbs)%len(nouns)]
		tools = append(tools, tool(fmt.Sprintf("server%03d", i/100), fmt.Sprintf("%s_%s_%d", verb, noun, i), fmt.Sprintf(
			`,"description":"Use this to %s one %s of the account, number %d.","inputSchema":{"type":"object","properties":{"id":{"type":"string","description":"Which %s."},"state":{"enum":["open","closed"]}},"required":["id"]}`,
			verb, noun, i, noun)))
	}
	all, some := publish(tools...), publish(tools...)
	some.Deny(2, []view.Key{{Kind: "server", Name: "server007"}})
	for name, h := range map[string]*view.Holder{"all": all, "some": some} {
		b.Run(name, func(b *testing.B) {
			built := 0
			s := open(b, search.Config{Built: func(int) { built++ }})
			c := caller(h, wire.Latest)
			find(b, s, c, `{"query":"open a ticket about a bug"}`, available)
			b.ReportAllocs()
			var times []time.Duration
			for b.Loop() {
				began := time.Now()
				if _, err := s.Find(b.Context(), c, []byte(`{"query":"close the invoice of an account"}`), available); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(began))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2]), "p50-ns")
			b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
			b.ReportMetric(float64(built-1)/float64(b.N), "builds/op")
		})
	}
}
