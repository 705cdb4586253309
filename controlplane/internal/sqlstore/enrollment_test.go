// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"crypto/sha256"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func sum(text string) [32]byte { return sha256.Sum256([]byte(text)) }

const someNode = "spiffe://td/region/eu/node/n1"

// reasonOf returns the reason of an error; empty without one.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

// A join token is one key's, until it expires; nothing but its hash is stored; a ban ends everything and lasts.
func TestEnrollment(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			where := dsn(t)
			s := open(t, sqlstore.Config{DSN: where, Now: func() time.Time { return now }})
			add := func(token, id string) {
				t.Helper()
				if err := s.AddJoinToken(t.Context(), sqlstore.JoinToken{SHA256: sum(token), SPIFFEID: id, Actor: "ada", Create: now, End: now.Add(time.Hour)}); err != nil {
					t.Fatal(err)
				}
			}
			use := func(token, key, wantID, wantReason string) {
				t.Helper()
				id, err := s.UseJoinToken(t.Context(), sum(token), sum(key))
				if id != wantID && err == nil || reasonOf(err) != wantReason {
					t.Errorf("use of %s with %s: %q, %v, want %q %s", token, key, id, err, wantID, wantReason)
				}
			}
			add("first", someNode)
			use("nobody's", "k1", "", "JOIN_TOKEN_UNKNOWN")
			use("first", "k1", someNode, "")
			use("first", "k1", someNode, "") // the answer was lost
			use("first", "k2", "", "JOIN_TOKEN_USED")
			add("second", someNode) // the machine lost its disk
			use("second", "k2", someNode, "")
			use("first", "k1", "", "JOIN_TOKEN_USED")
			w, err := s.Workload(t.Context(), someNode)
			key := sum("k2")
			if diff := cmp.Diff(sqlstore.Workload{SPIFFEID: someNode, KeySHA256: key[:]}, w); err != nil || diff != "" {
				t.Errorf("workload: %v %s", err, diff)
			}
			add("late", "spiffe://td/region/eu/node/n2")
			add("unused", someNode)
			now = now.Add(time.Hour)
			use("late", "k3", "", "JOIN_TOKEN_EXPIRED")
			use("second", "k2", "", "JOIN_TOKEN_EXPIRED")
			add("open", someNode)

			for range 2 { // the second one changes nothing
				if err := s.BanWorkload(t.Context(), sqlstore.Ban{SPIFFEID: someNode, Actor: "ada", Reason: "stolen"}); err != nil {
					t.Fatal(err)
				}
			}
			use("open", "k2", "", "WORKLOAD_BANNED")
			if err := s.AddJoinToken(t.Context(), sqlstore.JoinToken{SHA256: sum("more"), SPIFFEID: someNode, End: now.Add(time.Hour)}); reasonOf(err) != "WORKLOAD_BANNED" {
				t.Errorf("a join token for a banned workload: %v", err)
			}
			head, list := revocations(t, s, 0)
			if head.Seq != 1 || len(list) != 1 || list[0].Kind != 5 || list[0].KeySHA256 != sum(someNode) || list[0].ExpireTime.Before(now.AddDate(99, 0, 0)) {
				t.Errorf("revocations: %+v, %+v", head, list)
			}
			again := open(t, sqlstore.Config{DSN: where, Now: func() time.Time { return now }})
			if ids, err := again.BannedWorkloads(t.Context()); err != nil || !cmp.Equal(ids, []string{someNode}) {
				t.Errorf("banned after a restart: %q, %v", ids, err)
			}
			now = now.Add(8 * 24 * time.Hour)
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			use("late", "k3", "", "JOIN_TOKEN_UNKNOWN")
		})
	}
}

// Of many keys that use one join token at the same moment, one is enrolled; and a ban at that moment wins.
func TestEnrollmentRace(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			s := open(t, sqlstore.Config{DSN: dsn(t)})
			err := s.AddJoinToken(t.Context(), sqlstore.JoinToken{SHA256: sum("t"), SPIFFEID: someNode, End: time.Now().Add(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			won := make(chan string, 20)
			for i := range 20 {
				key := string(rune('a' + i))
				all.Go(func() {
					if _, err := s.UseJoinToken(t.Context(), sum("t"), sum(key)); err == nil {
						won <- key
					} else if reasonOf(err) != "JOIN_TOKEN_USED" {
						t.Errorf("key %s: %v", key, err)
					}
				})
			}
			all.Wait()
			if len(won) != 1 {
				t.Fatalf("%d keys were enrolled, want 1", len(won))
			}
			winner := sum(<-won)
			if w, err := s.Workload(t.Context(), someNode); err != nil || string(w.KeySHA256) != string(winner[:]) {
				t.Errorf("pinned %x, %v", w.KeySHA256, err)
			}
		})
	}
}
