// SPDX-License-Identifier: Apache-2.0

package memstate_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
)

func TestSessions(t *testing.T) { statetest.Sessions(t, memstate.NewSessions()) }

// TestLives is the column "Life" of M-89.
func TestLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := memstate.NewSessions(), t.Context()
		id, used := session.UID{1}, session.UID{2}
		for _, one := range []session.UID{id, used} {
			if err := s.Put(ctx, one, map[string][]byte{"a": []byte("1")}); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := s.Own(ctx, id, "n"); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(ctx, []session.Entry{{Session: id, Stream: "s", Head: []byte("h"), Number: 1, Event: []byte("e")}}); err != nil {
			t.Fatal(err)
		}
		states := func() (record, stream, events bool) {
			r, _ := s.Load(ctx, id)
			node, _ := s.Owner(ctx, id)
			b, _ := s.Read(ctx, id, "s", 0)
			return r.Fields != nil, node != "", b.Head != nil
		}
		for _, at := range []struct {
			wait                   time.Duration
			record, stream, events bool
		}{
			{session.StreamLife - time.Second, true, true, true},
			{2 * time.Second, true, false, true},
			{replay.Life - session.StreamLife - 2*time.Second, true, false, true},
			{2 * time.Second, true, false, false},
			{session.RecordLife - replay.Life - 2*time.Second, true, false, false},
			{2 * time.Second, false, false, false},
		} {
			time.Sleep(at.wait)
			record, stream, events := states()
			if record != at.record || stream != at.stream || events != at.events {
				t.Errorf("record %v, stream %v, events %v, want %v", record, stream, events, at)
			}
			if _, err := s.Touch(ctx, []session.UID{used}); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := s.Load(ctx, used); err != nil || r.Fields == nil {
			t.Errorf("the record that was touched is gone: %v", err)
		}
	})
}
