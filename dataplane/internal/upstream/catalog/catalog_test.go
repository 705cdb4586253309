// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
)

// pages answers list requests with one result after the other, and the last one for ever; it notes the params.
type pages struct {
	results []string
	asked   []string
}

func (p *pages) ask(_ context.Context, method string, params []byte) ([]byte, error) {
	p.asked = append(p.asked, string(params))
	if method != "tools/list" {
		return nil, fmt.Errorf("asked for %s", method)
	}
	return []byte(p.results[min(len(p.asked), len(p.results))-1]), nil
}

// TestRead is M-70: pages in the server's order, byte for byte, up to the end, which is no cursor, null, or one that came
// before.
func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name    string
		results []string
		want    []string
		asked   []string
	}{
		{"empty", []string{`{"tools":[]}`}, []string{}, []string{""}},
		{"one page", []string{`{ "tools" : [ {"b":1.50 } , {"a":9007199254740993}] }`}, []string{`{"b":1.50 }`, `{"a":9007199254740993}`}, []string{""}},
		{
			"two pages",
			[]string{`{"tools":[{"n":1}],"nextCursor":"a\u0062"}`, `{"nextCursor":null,"tools":[{"n":2}]}`},
			[]string{`{"n":1}`, `{"n":2}`},
			[]string{"", `{"cursor":"a\u0062"}`},
		},
		{"an empty cursor", []string{`{"tools":[{"n":1}],"nextCursor":""}`, `{"tools":[]}`}, []string{`{"n":1}`}, []string{"", `{"cursor":""}`}},
		{
			"a cursor again",
			[]string{`{"tools":[{"n":1}],"nextCursor":"a"}`, `{"tools":[{"n":2}],"nextCursor":"a"}`},
			[]string{`{"n":1}`, `{"n":2}`},
			[]string{"", `{"cursor":"a"}`},
		},
		{"a cursor of another type", []string{`{"tools":[],"nextCursor":5}`}, []string{}, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pages{results: tt.results}
			list, err := Read(t.Context(), p.ask, "tools/list", "tools")
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, one := range list {
				got = append(got, string(one))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("members (-want +got):\n%s", d)
			}
			if d := cmp.Diff(tt.asked, p.asked); d != "" {
				t.Errorf("params (-want +got):\n%s", d)
			}
		})
	}
}

// TestRefused: what is no list is not read on.
func TestRefused(t *testing.T) {
	for _, bad := range []string{`{}`, `{"tools":{}}`, `{"tools":[1]}`, `{"tools":[{}],"tools":[]}`, `[]`, `{"tools":[{}`} {
		p := &pages{results: []string{bad}}
		var garbage *exchange.Garbage
		if list, err := Read(t.Context(), p.ask, "tools/list", "tools"); !errors.As(err, &garbage) || list != nil {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := Read(t.Context(), (&pages{}).ask, "other/list", "tools"); err == nil {
		t.Error("the server's failure is lost")
	}
}

// TestBounds: at most 100 pages and 64 MiB.
func TestBounds(t *testing.T) {
	n := 0
	endless := func(context.Context, string, []byte) ([]byte, error) {
		n++
		return fmt.Appendf(nil, `{"tools":[{"n":%d}],"nextCursor":"%d"}`, n, n), nil
	}
	if list, err := Read(t.Context(), endless, "tools/list", "tools"); err != nil || len(list) != maxPages || n != maxPages {
		t.Errorf("%d members after %d requests, %v", len(list), n, err)
	}
	large := []byte(`{"tools":[],"x":"` + strings.Repeat("x", maxBytes/4) + `","nextCursor":"`)
	n = 0
	huge := func(context.Context, string, []byte) ([]byte, error) {
		n++
		return append(large[:len(large):len(large)], fmt.Sprintf(`%d"}`, n)...), nil
	}
	if _, err := Read(t.Context(), huge, "tools/list", "tools"); !errors.Is(err, ErrTooLarge) || n != 4 {
		t.Errorf("after %d requests: %v", n, err)
	}
}
