// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/node"
)

// leaving is a follower whose leavers are followed.
type leaving struct {
	t     *testing.T
	f     *directory.Follower
	asked chan directory.Left
}

// follow starts what follows; the first end fails.
func follow(t *testing.T) *leaving {
	t.Helper()
	w := &leaving{t: t, f: directory.NewFollower("https://gw.example.com"), asked: make(chan directory.Left)}
	ctx, cancel := context.WithCancel(t.Context())
	ended, failed := make(chan error, 1), false
	l := &leavers{follower: w.f, log: slog.New(slog.DiscardHandler), retry: 10 * time.Millisecond, end: func(_ context.Context, left directory.Left) error {
		if !failed {
			failed = true
			return errors.New("the store is away")
		}
		w.asked <- left
		return nil
	}}
	go func() { ended <- l.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *leaving) apply(s state) {
	w.t.Helper()
	if rejects := w.f.Apply(w.t.Context(), s, nil, false); len(rejects) > 0 {
		w.t.Fatal(rejects)
	}
}

func (w *leaving) want(name string, at time.Time) {
	w.t.Helper()
	select {
	case got := <-w.asked:
		if got.User != "uid-ada" || !got.At.Equal(at) {
			w.t.Errorf("%s: what %+v had ended", name, got)
		}
	case <-time.After(10 * time.Second):
		w.t.Fatalf("%s: nothing ended", name)
	}
}

func (w *leaving) nothing(name string) {
	w.t.Helper()
	if left := w.f.TakeLeft(); len(left) != 0 {
		w.t.Errorf("%s: %+v left", name, left)
	}
}

func ada() node.Key { return node.Key{Kind: "user", Name: "ada@example.com"} }

// withEnd is people with Ada as she is after she was deactivated at a time.
func withEnd(at time.Time, deactivated bool) state {
	s := people()
	u := s[ada()].GetUser()
	u.EndTime, u.Deactivated = timestamppb.New(at), deactivated
	return s
}

// TestLeavers is SC-2 for whoever deactivates somebody: what the user had ends, after a failure too, and nobody else's.
func TestLeavers(t *testing.T) {
	w := follow(t)
	off, gone := people(), people()
	off[ada()].GetUser().Deactivated = true // by a control plane that tells no time
	delete(gone, ada())
	for name, s := range map[string]state{"deactivated": off, "deleted": gone} {
		w.apply(people()) // she is there, or back: nothing ends
		w.apply(s)
		w.want(name, time.Time{})
	}
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	w.apply(people())
	w.apply(withEnd(at, true))
	w.want("deactivated at a time", at)
	w.apply(withEnd(at, false)) // back, with the time: it is no news
	w.apply(withEnd(at.Add(time.Hour), false))
	w.want("deactivated and activated between two states", at.Add(time.Hour))
}

// TestLeftWhileAway: an authserver that was away, with all its neighbours, hears of whoever was deactivated and is back: by the
// first state that it gets, and by the first after the one of its disk.
func TestLeftWhileAway(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	w := &leaving{t: t, f: directory.NewFollower("https://gw.example.com")}
	w.apply(people())
	w.nothing("nobody has left")
	w.apply(withEnd(at, false))
	if left := w.f.TakeLeft(); len(left) != 1 || left[0] != (directory.Left{User: "uid-ada", At: at}) {
		t.Errorf("after the state of the disk: %+v", left)
	}
	w.apply(withEnd(at, false))
	w.nothing("the same again")
	w.apply(withEnd(at.Add(-time.Hour), false))
	w.nothing("an older time")
	first := &leaving{t: t, f: directory.NewFollower("https://gw.example.com")}
	first.apply(withEnd(at, false))
	if left := first.f.TakeLeft(); len(left) != 1 || left[0] != (directory.Left{User: "uid-ada", At: at}) {
		t.Errorf("by the first state: %+v", left)
	}
}

// TestEnding: what somebody had ends with the credentials of their own connections, once for each time, and nobody else's do.
func TestEnding(t *testing.T) {
	connection := func(name, owner string) (node.Key, *distributionv1.Resource) {
		return node.Key{Kind: "connection", Name: name}, &distributionv1.Resource{Kind: "connection", Name: name, Body: &distributionv1.Resource_Connection{
			Connection: &resourcev1.Connection{Name: name, Uid: "uid-" + name, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: owner}}},
		}}
	}
	var all state
	w := newTown(t, func(s state) {
		for name, owner := range map[string]string{"mine": "ada@example.com", "other": "ada@example.com", "bobs": "bob@example.com"} {
			k, r := connection(name, owner)
			s[k] = r
		}
		all = s
	})
	f := directory.NewFollower("https://gw.example.com")
	f.Apply(t.Context(), all, nil, false)
	versions := make(map[string]string)
	keep := func() {
		for _, c := range []string{"uid-mine", "uid-other", "uid-bobs"} {
			v, err := w.vault.Put(t.Context(), c, vault.Secret{Headers: map[string]obs.Secret{"Authorization": "Bearer canary"}})
			w.must(err)
			versions[c] = v
		}
	}
	there := func(c string) bool {
		_, err := w.vault.Resolve(t.Context(), c, versions[c])
		if err != nil && fault.From(err).Reason != vault.ReasonMissing {
			t.Fatal(err)
		}
		return err == nil
	}
	login := func() {
		w.must(w.db.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			w.must(tx.DeleteLogins(ctx, "uid-ada"))
			return tx.PutLogin(ctx, store.Login{Hash: sha256.Sum256([]byte("ada")), User: "uid-ada", AuthTime: time.Now(), UseTime: time.Now(), ExpireTime: time.Now().Add(time.Hour)})
		}))
	}
	loggedIn := func() bool {
		_, err := w.db.Login(t.Context(), sha256.Sum256([]byte("ada")))
		return err == nil
	}
	forgotten := 0 // by this authserver, also where another one did the rest
	e := ending{state: f.State, ended: w.db.Ended, upstream: w.a.upstream, subjects: w.a.subjects, grants: w.a.grants, forget: func(user string) {
		if user == "uid-ada" {
			forgotten++
		}
	}}
	at := time.Now().UTC().Truncate(time.Microsecond)
	for i, tt := range []struct {
		name string
		at   time.Time
		ends bool
	}{
		{"the first time", at, true},
		{"the same time again", at, false},
		{"a time before", at.Add(-time.Hour), false},
		{"another time", at.Add(time.Hour), true},
		{"no time is told", time.Time{}, true},
	} {
		keep()
		login()
		w.must(e.end(t.Context(), directory.Left{User: "uid-ada", At: tt.at}))
		if forgotten != i+1 {
			t.Errorf("%s: forgotten %d times", tt.name, forgotten)
		}
		if there("uid-mine") == tt.ends || there("uid-other") == tt.ends || loggedIn() == tt.ends || !there("uid-bobs") {
			t.Errorf("%s: mine %t, other %t, login %t, somebody else's %t", tt.name, there("uid-mine"), there("uid-other"), loggedIn(), there("uid-bobs"))
		}
	}
}
