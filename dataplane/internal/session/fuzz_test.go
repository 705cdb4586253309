// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"log/slog"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// FuzzForeign: the id of a session opens for its own principal and gateway only, changed nowhere, and neither does what the
// fleet has sealed for another purpose (M-34, M-86).
func FuzzForeign(f *testing.F) {
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		f.Fatal(err)
	}
	m, err := session.New(session.Config{Keys: keys, Store: memstate.NewSessions(), Log: slog.New(slog.DiscardHandler), Node: "n1"})
	if err != nil {
		f.Fatal(err)
	}
	id, s, err := m.Create(f.Context(), eng, user("u1"), wire.V20251125, []byte(`{"roots":{}}`))
	if err != nil {
		f.Fatal(err)
	}
	plain, err := keys.Open(nil, seal.Session, eng, id)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("u2", "other", uint16(9), uint8(1))
	f.Add("u1", eng, uint16(80), uint8(0x20))
	f.Add("u1\x00", "", uint16(0), uint8(0x80))
	f.Fuzz(func(t *testing.T, who, gateway string, at uint16, flip uint8) {
		got, err := m.Open(t.Context(), gateway, user(who), id)
		if own := who == "u1" && gateway == eng; (err == nil) != own || err == nil && got != s {
			t.Fatalf("%q opens it at %q: %v", who, gateway, err)
		}
		i := int(at) % len(id)
		if changed := id[:i] + string([]byte{id[i] ^ flip}) + id[i+1:]; flip != 0 {
			if _, err := m.Open(t.Context(), eng, user("u1"), changed); err == nil {
				t.Fatalf("%q opens", changed)
			}
		}
		for _, kind := range []seal.Kind{seal.Cursor, seal.RequestState} {
			if _, err := m.Open(t.Context(), eng, user("u1"), string(keys.Seal(nil, kind, eng, plain))); err == nil {
				t.Fatalf("a %s opens as a session", kind)
			}
		}
		// The same layout with a bit of the binding changed under the seal: it is somebody else's.
		const uid, binding = 16, 16
		inside := append([]byte(nil), plain...)
		inside[1+uid+int(at)%binding] ^= flip | 1
		if _, err := m.Open(t.Context(), eng, user("u1"), string(keys.Seal(nil, seal.Session, eng, inside))); err == nil {
			t.Fatal("the session of another principal opens")
		}
	})
}
