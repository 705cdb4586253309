// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/stage"
)

// table is a Base on a map.
type table map[catalog.Key]*catalog.Record

func (t table) Row(_ context.Context, key catalog.Key) (*catalog.Record, error) { return t[key], nil }

func (t table) Range(_ context.Context, s stage.Span, limit int) ([]*catalog.Record, error) {
	var out []*catalog.Record
	for _, key := range slices.SortedFunc(maps.Keys(t), stage.Order{}.Compare) {
		if key.Kind == s.Kind && s.Contains(key.Name) && (limit <= 0 || len(out) < limit) {
			out = append(out, t[key])
		}
	}
	return out, nil
}

func (t table) Lookup(_ context.Context, kind catalog.Kind, value string) (*catalog.Record, error) {
	for key, r := range t {
		if key.Kind == kind && r.Lookup == value && r.DeleteTime.IsZero() {
			return r, nil
		}
	}
	return nil, nil
}

func (t table) Blob(context.Context, catalog.Hash) ([]byte, error) { return nil, nil }

// However a transaction mixes reads and writes, it reads what a map would have: its own writes over the base.
func TestStageReads(t *testing.T) {
	ctx := t.Context()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		name := func() string { return fmt.Sprintf("%c/%c", 'a'+rune(r.IntN(3)), 'a'+rune(r.IntN(4))) }
		base := make(table)
		for range r.IntN(10) {
			rec := &catalog.Record{Key: catalog.Key{Kind: "k", Name: name()}, UID: "u", Body: []byte("base")}
			rec.Version = catalog.VersionOf(rec.UID, rec.Body, nil)
			if r.IntN(3) == 0 {
				rec.DeleteTime = time.Unix(1, 0)
			}
			base[rec.Key] = rec
		}
		model := make(map[string]string)
		for key, rec := range base {
			if rec.DeleteTime.IsZero() {
				model[key.Name] = string(rec.Body)
			}
		}
		s := stage.New(base, time.Unix(2, 0))
		for step := range 30 {
			switch n := name(); r.IntN(5) {
			case 0:
				text := fmt.Sprint(step % 3)
				if err := s.Put(ctx, &catalog.Record{Key: catalog.Key{Kind: "k", Name: n}, UID: "u", Body: []byte(text)}); err != nil {
					t.Fatal(err)
				}
				model[n] = text
			case 1:
				_, lives := model[n]
				if err := s.Delete(ctx, catalog.Key{Kind: "k", Name: n}); (err == nil) != lives {
					t.Fatalf("seed %d: delete %s: %v; it lives: %v", seed, n, err, lives)
				}
				delete(model, n)
			case 2:
				rec, err := s.Get(ctx, catalog.Key{Kind: "k", Name: n})
				text, lives := model[n]
				if err != nil || (rec != nil) != lives || lives && string(rec.Body) != text {
					t.Fatalf("seed %d: get %s: %v, %v; want %q", seed, n, rec, err, text)
				}
			case 3:
				prefix := n[:r.IntN(3)]
				recs, err := s.ListPrefix(ctx, "k", prefix)
				check(t, seed, "prefix "+prefix, recs, err, model, func(name string) bool { return strings.HasPrefix(name, prefix) }, 0)
			case 4:
				limit := 1 + r.IntN(4)
				recs, err := s.List(ctx, "k", n, limit, false)
				check(t, seed, "after "+n, recs, err, model, func(name string) bool { return name > n }, limit)
			}
		}
		checkPlan(t, seed, s, base, model)
	}
}

func check(t *testing.T, seed uint64, what string, recs []*catalog.Record, err error, model map[string]string, in func(string) bool, limit int) {
	t.Helper()
	var want, got []string
	for _, name := range slices.Sorted(maps.Keys(model)) {
		if in(name) && (limit == 0 || len(want) < limit) {
			want = append(want, name+"="+model[name])
		}
	}
	for _, r := range recs {
		got = append(got, r.Name+"="+string(r.Body))
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Fatalf("seed %d: %s: %v (-want +got)\n%s", seed, what, err, d)
	}
}

// checkPlan stores the plan and compares the result with the model; a write without a difference is a failure (D-5).
func checkPlan(t *testing.T, seed uint64, s *stage.Stage, base table, model map[string]string) {
	t.Helper()
	plan, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var last catalog.Key
	for _, w := range plan.Writes {
		if stage.Order.Compare(stage.Order{}, last, w.Record.Key) >= 0 {
			t.Fatalf("seed %d: writes are not in order", seed)
		}
		last = w.Record.Key
		old := base[last]
		if old != w.Previous {
			t.Fatalf("seed %d: previous of %s is %v", seed, last.Name, w.Previous)
		}
		if old != nil && old.DeleteTime.IsZero() == w.Record.DeleteTime.IsZero() && old.Version == w.Record.Version {
			t.Fatalf("seed %d: %s is written without a difference", seed, last.Name)
		}
		base[last] = w.Record
	}
	got := make(map[string]string)
	for key, rec := range base {
		if rec.DeleteTime.IsZero() {
			got[key.Name] = string(rec.Body)
		}
	}
	if d := cmp.Diff(model, got); d != "" {
		t.Fatalf("seed %d: stored (-want +got)\n%s", seed, d)
	}
}

func TestPrefix(t *testing.T) {
	for _, prefix := range []string{"", "a", "a/", "ä", "a\x7f", "\u07ff", "\ud7ff", "\uffff", "a\U0010ffff", "\U0010ffff"} {
		s := stage.Prefix("k", prefix)
		for _, name := range []string{"", "a", "a/", "a/b", "a0", "b", "ä", "äb", "å", "a\x7fx", "a\u0080", "\u07ffx", "\u0800", "\ud7ffx", "\ue000", "\uffffx", "\U00010000", "a\U0010ffffx", "\U0010ffff"} {
			if got, want := s.Contains(name), strings.HasPrefix(name, prefix); got != want {
				t.Errorf("%q starts with %q: %v; want %v", name, prefix, got, want)
			}
		}
	}
}
