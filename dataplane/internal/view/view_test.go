// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func gateway(name string, tools ...string) *Gateway {
	g := &Gateway{Gateway: compile.Gateway{Name: name, UID: "uid-" + name}}
	for _, t := range tools {
		g.Tools = append(g.Tools, &Tool{Exposed: t, Name: "ev/" + t, Server: "ev"})
	}
	return g
}

// A published view never changes: a builder copies what it writes.
func TestBuilderLeavesTheViewBefore(t *testing.T) {
	b := From(nil)
	b.PutGateway(gateway("eng", "b", "a"))
	b.PutServer("ev", &Server{Name: "ev"})
	first := b.Build("epoch", 1)

	b = From(first)
	b.PutGateway(gateway("ops"))
	b.DeleteGateway("eng")
	b.PutServer("ev", nil)
	b.PutToken([32]byte{1}, &Token{Name: "t"})
	second := b.Build("epoch", 2)

	if first.Gateway("eng") == nil || first.Gateway("uid-eng") == nil || first.Gateway("ops") != nil || first.Server("ev") == nil {
		t.Error("the first view changed")
	}
	if second.Gateway("eng") != nil || second.Gateway("uid-eng") != nil || second.Gateway("uid-ops") == nil || second.Server("ev") != nil {
		t.Error("the second view lacks its changes")
	}
	if got := first.Gateway("eng").Tools[0].Exposed; got != "a" {
		t.Errorf("tools start with %s, want them sorted", got)
	}
}

// D-30: a denial is dropped by the first view that contains it, and by another lineage.
func TestHolderDenials(t *testing.T) {
	h := NewHolder()
	h.Deny(5, []Key{{"tool", "ev/a"}})
	if h.Load() != nil {
		t.Fatal("a denial made a view")
	}
	h.Publish(From(nil).Build("one", 4))
	h.Deny(5, []Key{{"tool", "ev/a"}})
	h.Deny(7, []Key{{"tool", "ev/b"}})
	h.Publish(From(nil).Build("one", 5))
	if s := h.Load(); s.Denied("tool", "ev/a") || !s.Denied("tool", "ev/b") {
		t.Error("a view at revision 5 must contain the denial of 5 and not that of 7")
	}
	h.Publish(From(nil).Build("two", 1))
	if h.Load().HasDenials() {
		t.Error("a denial outlived its lineage")
	}
}

// RS-21: a tool goes with its denial, wherever tools are listed or looked for, and at the gateways of the denial only.
func TestTaken(t *testing.T) {
	h := NewHolder()
	b := From(nil)
	b.PutGateway(gateway("eng", "a", "b"))
	b.PutGateway(gateway("ops", "a", "b"))
	h.Publish(b.Build("one", 1))
	for _, step := range []struct {
		deny     Key
		eng, ops []bool
	}{
		{Key{"tool", "ev/zzz"}, nil, nil},
		{Key{"assignment", "eng/ev/b"}, []bool{false, true}, nil},
		{Key{"tool", "ev/a"}, []bool{true, true}, []bool{true, false}},
	} {
		h.Deny(2, []Key{step.deny})
		for range 2 { // made, then kept
			for name, want := range map[string][]bool{"eng": step.eng, "ops": step.ops} {
				s := h.Load()
				g := s.Gateway(name)
				if got := s.Taken(g); !slices.Equal(got, want) || (got == nil) != (want == nil) {
					t.Errorf("%v: %s: taken %v, want %v", step.deny, name, got, want)
				}
				left := s.Tools(g)
				for i, tool := range g.Tools {
					if there := s.Tool(g, tool.Exposed) != nil; there == (want != nil && want[i]) || there != slices.Contains(left, tool) {
						t.Errorf("%v: %s: %s is there: %t, listed %v", step.deny, name, tool.Exposed, there, left)
					}
				}
			}
		}
	}
}

func TestHolderTellsOfChanges(t *testing.T) {
	h := NewHolder()
	changed := h.Changed()
	h.Publish(From(nil).Build("one", 1))
	<-changed
	changed = h.Changed()
	h.Deny(2, []Key{{"tool", "x"}})
	<-changed
}

// The list cache is filled once, whoever comes first.
func TestListCache(t *testing.T) {
	g := gateway("eng")
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got {
		wg.Go(func() {
			got[i] = string(g.List(0, func() [][]byte { return [][]byte{fmt.Appendf(nil, "%d", i)} })[0])
		})
	}
	wg.Wait()
	for _, s := range got {
		if s != got[0] {
			t.Fatalf("different lists: %v", got)
		}
	}
	if again := g.List(0, func() [][]byte { t.Error("built again"); return nil }); string(again[0]) != got[0] {
		t.Error("the list changed")
	}
}
