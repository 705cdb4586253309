// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The hash is that of auth.md AU-1: whoever checks an export with other tools gets the same.
func TestAuditHash(t *testing.T) {
	previous := sha256.Sum256([]byte("before"))
	plain := append(slices.Clone(previous[:]), `{"action":"a"}`...)
	if got := store.AuditHash(previous, []byte(`{"action":"a"}`)); got != sha256.Sum256(plain) {
		t.Errorf("hash is %x", got)
	}
}

func TestVerifyAudit(t *testing.T) {
	chain := func() []store.AuditRecord {
		var list []store.AuditRecord
		var last store.Hash
		for i := range 4 {
			e := store.Event{Time: time.Unix(int64(i), 5000).UTC(), Action: "code.issued", Result: "ok"}
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			n := store.AuditRecord{Seq: int64(i + 1), Event: e, JSON: b, Previous: last, Hash: store.AuditHash(last, b)}
			list, last = append(list, n), n.Hash
		}
		return list
	}
	for _, c := range []struct {
		name  string
		spoil func([]store.AuditRecord) []store.AuditRecord
		end   int64 // of the good part
		good  bool
	}{
		{"whole", func(l []store.AuditRecord) []store.AuditRecord { return l }, 4, true},
		{"empty", func([]store.AuditRecord) []store.AuditRecord { return nil }, 0, true},
		{"event", func(l []store.AuditRecord) []store.AuditRecord { l[1].Event.Result = "refused"; return l }, 1, false},
		{"JSON", func(l []store.AuditRecord) []store.AuditRecord { l[1].JSON = append(l[1].JSON, ' '); return l }, 1, false},
		{"hash", func(l []store.AuditRecord) []store.AuditRecord { l[2].Hash[31] ^= 1; return l }, 2, false},
		{"previous", func(l []store.AuditRecord) []store.AuditRecord { l[2].Previous[0] ^= 1; return l }, 2, false},
		{"gap", func(l []store.AuditRecord) []store.AuditRecord { return slices.Delete(l, 1, 2) }, 1, false},
		{"order", func(l []store.AuditRecord) []store.AuditRecord { l[1], l[2] = l[2], l[1]; return l }, 1, false},
		{"twice", func(l []store.AuditRecord) []store.AuditRecord { return slices.Insert(l, 2, l[1]) }, 2, false},
	} {
		end, err := store.VerifyAudit(store.AuditRecord{}, c.spoil(chain()))
		if end.Seq != c.end || (err == nil) != c.good || err != nil && fault.From(err).Reason != store.ReasonAuditBroken {
			t.Errorf("%s: good up to %d, want %d (%v)", c.name, end.Seq, c.end, err)
		}
	}
	whole := chain()
	middle, err := store.VerifyAudit(store.AuditRecord{}, whole[:2])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.VerifyAudit(middle, whole[2:]); err != nil {
		t.Error(err)
	}
}
