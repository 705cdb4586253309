// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/held/heldtest"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

const secretArguments = `{"password":"correct-horse-battery"}`

// TestSealed: who has the database has no argument of a held call, nor can they pass one off as another's; with the key file everything opens,
// also after a rotation (SE-2).
func TestSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		db := heldtest.Open(t, o.dsn)
		first := o.hold("PENDING", arguments(secretArguments))
		if got := db.Dump(); strings.Contains(got, "correct-horse") || strings.Contains(got, "password") || !strings.Contains(got, first) {
			t.Errorf("the database holds %q", got)
		}
		o.must(envelope.RotateKeyFile(o.keyFile))
		second := o.hold("PENDING", arguments(`{"a":"under the new key"}`))
		oldKey, sealed := db.Stored(first)
		if newKey, _ := db.Stored(second); oldKey == newKey || !strings.HasPrefix(newKey, "local/") {
			t.Errorf("the keys are %q, and %q after a rotation", oldKey, newKey)
		}
		seen := func(id string) *approval.Approval {
			a, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id)
			o.must(err)
			return a
		}
		if got := seen(first); string(got.Arguments) != secretArguments || got.Unreadable != nil {
			t.Errorf("under the old key: %s, %v", got.Arguments, got.Unreadable)
		}
		if got := seen(second); string(got.Arguments) != `{"a":"under the new key"}` {
			t.Errorf("under the new key: %s, %v", got.Arguments, got.Unreadable)
		}

		db.Put(second, oldKey, sealed)
		if got := seen(second); got.Unreadable == nil || len(got.Arguments) != 0 {
			t.Errorf("the arguments of another approval open: %s", got.Arguments)
		}
		o.decide(second, ada, true, approval.ReasonUnreadable)
		o.decide(second, ada, false, "")
		o.hold("DENIED", arguments(`{"a":"under the new key"}`))

		db.Put(first, "local/1", sealed)
		if list, _, err := o.List(t.Context(), approval.Viewer{Admin: true}, approval.Query{Limit: 10}); err != nil || len(list) != 2 {
			t.Errorf("a key that is missing hides approvals: %d, %v", len(list), err)
		}
		o.decide(first, ada, true, approval.ReasonUnreadable)
		db.Put(first, oldKey, sealed)
		o.decide(first, ada, true, "")
		o.hold("RUN run", arguments(secretArguments))
		if _, sealed := db.Stored(first); len(sealed) != 0 {
			t.Errorf("after its end: %d bytes", len(sealed))
		}
	})
}

// TestHeldInClear: a call that was held before there were keys is decided about and runs as ever.
func TestHeldInClear(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		db := heldtest.Open(t, o.dsn)
		id := o.hold("PENDING", arguments(secretArguments))
		db.Put(id, "", []byte(secretArguments))
		if !strings.Contains(db.Dump(), "correct-horse") {
			t.Error("the dump does not show what lies in clear")
		}
		if a, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id); err != nil || string(a.Arguments) != secretArguments {
			t.Errorf("%+v, %v", a, err)
		}
		o.decide(id, ada, true, "")
		o.hold("RUN run", arguments(secretArguments))
	})
}

// TestNoKey: without a key nothing is kept, and no call is held for others; what callers confirm themselves needs none.
func TestNoKey(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		sealed := o.hold("PENDING", arguments(secretArguments))
		store, err := sqlstore.OpenConfig(t.Context(), sqlstore.Config{DSN: o.dsn, Now: o.clock.now})
		o.must(err)
		t.Cleanup(func() { o.must(store.Close()) })
		keyless, err := approval.New(approval.Config{Store: store.Approvals(nil), Resources: store, Log: slog.New(slog.DiscardHandler), Now: o.clock.now})
		o.must(err)
		if _, err := keyless.Hold(t.Context(), o.request(arguments(`{"a":"new"}`))); reasonOf(err) != approval.ReasonNoKey || !strings.Contains(err.Error(), "approvals.keyset") {
			t.Errorf("held: %v", err)
		}
		list, _, err := keyless.List(t.Context(), approval.Viewer{Admin: true}, approval.Query{Limit: 10})
		if err != nil || len(list) != 1 || list[0].ID != sealed || list[0].Unreadable == nil || len(list[0].Arguments) != 0 {
			t.Errorf("listed %+v, %v", list, err)
		}
	})
}
