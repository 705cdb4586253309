// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Run checks an implementation. open returns an empty store that is closed by the test's clean-up.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"a secret is read back as it was put", putAndRead},
		{"ciphertext may be any bytes", anyBytes},
		{"a version is put once", putOnce},
		{"a missing version is not found", missing},
		{"a version belongs to its connection", ownConnection},
		{"delete takes all versions of one connection", deleteAll},
		{"what secrets are for comes by the beginning of its name, in pages", connectionsOf},
		{"touch moves forward only", touch},
		{"collect takes only what is proven garbage", collect},
		{"key ids are those in use", keyIDs},
		{"secrets of other keys come in pages", otherKeys},
		{"reseal replaces what it read, once", reseal},
		{"of several processes one has the lease of a secret", lease},
		{"secrets of one connection, and those that are due", dueSecrets},
		{"private signing keys count among what keys sealed", sealedRows},
		{"concurrent writers lose nothing", concurrent},
		{"a canceled context is reported as such", canceled},
		{"check passes on an open store", func(t *testing.T, s store.Store) { must(t, s.Check(t.Context())) }},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// epoch is when the secrets of this suite were made.
func epoch() time.Time { return time.Date(2026, 7, 28, 12, 0, 0, 123456000, time.UTC) }

func secret(connection, version string) store.Secret {
	return store.Secret{
		Connection: connection, Version: version, KeyID: "local/1",
		Sealed: []byte("sealed " + connection + " " + version), CreateTime: epoch(),
	}
}

func putAndRead(t *testing.T, s store.Store) {
	want := secret("c1", "v_1")
	put(t, s, want)
	same(t, read(t, s, "c1", "v_1"), want)
}

func anyBytes(t *testing.T, s store.Store) {
	want := secret("c1", "v_1")
	want.Sealed = make([]byte, 0, 256*200)
	for range 200 {
		for b := range 256 {
			want.Sealed = append(want.Sealed, byte(b))
		}
	}
	put(t, s, want)
	same(t, read(t, s, "c1", "v_1"), want)
}

func putOnce(t *testing.T, s store.Store) {
	first, second := secret("c1", "v_1"), secret("c1", "v_1")
	second.Sealed = []byte("other")
	put(t, s, first)
	wantFault(t, s.PutSecret(t.Context(), second), fault.AlreadyExists, store.ReasonSecretExists)
	same(t, read(t, s, "c1", "v_1"), first)
}

func missing(t *testing.T, s store.Store) {
	put(t, s, secret("c1", "v_1"))
	_, err := s.Secret(t.Context(), "c1", "v_2")
	wantFault(t, err, fault.NotFound, store.ReasonSecretMissing)
	_, err = s.Secret(t.Context(), "", "")
	wantFault(t, err, fault.NotFound, store.ReasonSecretMissing)
}

func ownConnection(t *testing.T, s store.Store) {
	a, b := secret("c1", "v_1"), secret("c2", "v_1")
	put(t, s, a)
	put(t, s, b)
	same(t, read(t, s, "c1", "v_1"), a)
	same(t, read(t, s, "c2", "v_1"), b)
}

func deleteAll(t *testing.T, s store.Store) {
	put(t, s, secret("c1", "v_1"))
	put(t, s, secret("c1", "v_2"))
	put(t, s, secret("c2", "v_1"))
	for i, want := range []int{2, 0} { // idempotent
		n, err := s.DeleteSecrets(t.Context(), "c1")
		must(t, err)
		if n != want {
			t.Errorf("delete %d removed %d versions, want %d", i+1, n, want)
		}
	}
	_, err := s.Secret(t.Context(), "c1", "v_1")
	wantFault(t, err, fault.NotFound, store.ReasonSecretMissing)
	read(t, s, "c2", "v_1")
}

func connectionsOf(t *testing.T, s store.Store) {
	want := []string{"a_%:1", "a_%:2", "a_%:3"}
	for _, c := range append([]string{"a_%", "ab%:1", "A_%:1", "b"}, want...) {
		put(t, s, secret(c, "v_1"))
		put(t, s, secret(c, "v_2"))
	}
	var got []string
	for after := ""; ; after = got[len(got)-1] {
		page, err := s.SecretConnections(t.Context(), "a_%:", after, 2)
		must(t, err)
		if got = append(got, page...); len(page) < 2 {
			break
		}
	}
	same(t, got, want)
}

func touch(t *testing.T, s store.Store) {
	put(t, s, secret("c1", "v_1"))
	later := epoch().Add(time.Hour)
	must(t, s.TouchSecret(t.Context(), "c1", "v_1", later))
	must(t, s.TouchSecret(t.Context(), "c1", "v_1", epoch()))
	must(t, s.TouchSecret(t.Context(), "c1", "gone", later))
	if got := read(t, s, "c1", "v_1").ResolveTime; !got.Equal(later) {
		t.Errorf("resolve time is %v, want %v", got, later)
	}
}

func keyIDs(t *testing.T, s store.Store) {
	if got, err := s.SecretKeyIDs(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("an empty store has key ids %v (error %v)", got, err)
	}
	for i, key := range []string{"local/2", "local/1", "local/2"} {
		n := secret("c1", fmt.Sprint("v_", i))
		n.KeyID = key
		put(t, s, n)
	}
	got, err := s.SecretKeyIDs(t.Context())
	must(t, err)
	same(t, got, []string{"local/1", "local/2"})
}

func otherKeys(t *testing.T, s store.Store) {
	var want []string
	for c := range 3 {
		for v := range 4 {
			n := secret(fmt.Sprint("c", c), fmt.Sprint("v_", v))
			if v == 3 {
				n.KeyID = "local/2"
			} else {
				want = append(want, n.Connection+" "+n.Version)
			}
			put(t, s, n)
		}
	}
	var got []string
	var last store.Secret
	for {
		page, err := s.SecretsNotUnder(t.Context(), "local/2", last.Connection, last.Version, 2)
		must(t, err)
		if len(page) > 2 {
			t.Fatalf("a page of %d, limit 2", len(page))
		}
		for _, n := range page {
			got = append(got, n.Connection+" "+n.Version)
			last = n
		}
		if len(page) == 0 {
			break
		}
	}
	same(t, got, want)
}

func reseal(t *testing.T, s store.Store) {
	n := secret("c1", "v_1")
	put(t, s, n)
	must(t, s.TouchSecret(t.Context(), "c1", "v_1", epoch().Add(time.Minute)))
	old := n.Sealed
	n.KeyID, n.Sealed = "local/2", []byte("new")
	for i, want := range []bool{true, false} { // the second comes too late
		done, err := s.ReplaceSecret(t.Context(), n, old)
		must(t, err)
		if done != want {
			t.Errorf("reseal %d is %v, want %v", i+1, done, want)
		}
	}
	n.ResolveTime = epoch().Add(time.Minute)
	same(t, read(t, s, "c1", "v_1"), n)
	gone := secret("c1", "gone")
	if done, err := s.ReplaceSecret(t.Context(), gone, gone.Sealed); done || err != nil {
		t.Errorf("reseal of a deleted version: %v, %v", done, err)
	}
}

// UP-5: of several processes one renews a secret, until it gives it back or its time is over.
func dueSecrets(t *testing.T, s store.Store) {
	for i, n := range []store.Secret{secret("ended:c2/v", "g"), secret("ended:c1/v", "g"), secret("ended", "g"), secret("c1", "v_2"), secret("c1", "v_1")} {
		n.CreateTime = epoch().Add(time.Duration(10-i) * time.Second)
		put(t, s, n)
	}
	names := func(list []store.Secret, err error) (all []string) {
		t.Helper()
		must(t, err)
		for _, n := range list {
			all = append(all, n.Connection+" "+n.Version)
		}
		return all
	}
	same(t, names(s.SecretsOf(t.Context(), "c1")), []string{"c1 v_1", "c1 v_2"})
	same(t, names(s.SecretsOf(t.Context(), "c")), nil)
	update(t, s, func(ctx context.Context, _ store.OAuthTx) error { // in a transaction, too
		same(t, names(s.SecretsOf(ctx, "c1")), []string{"c1 v_1", "c1 v_2"})
		return nil
	})
	same(t, names(s.DueSecrets(t.Context(), "ended:", epoch(), 10)), []string{"ended:c1/v g", "ended:c2/v g"})
	same(t, names(s.DueSecrets(t.Context(), "ended:", epoch(), 1)), []string{"ended:c1/v g"})
	if _, err := s.LeaseSecret(t.Context(), "ended:c1/v", "g", epoch(), epoch().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	same(t, names(s.DueSecrets(t.Context(), "ended:", epoch().Add(59*time.Second), 10)), []string{"ended:c2/v g"})
	same(t, names(s.DueSecrets(t.Context(), "ended:", epoch().Add(time.Minute), 10)), []string{"ended:c1/v g", "ended:c2/v g"})
}

func lease(t *testing.T, s store.Store) {
	put(t, s, secret("c1", "v_1"))
	for i, c := range []struct {
		now, until int // seconds
		want       bool
	}{{0, 30, true}, {29, 60, false}, {30, 60, true}, {31, 61, false}} {
		got, err := s.LeaseSecret(t.Context(), "c1", "v_1", epoch().Add(time.Duration(c.now)*time.Second), epoch().Add(time.Duration(c.until)*time.Second))
		must(t, err)
		if got != c.want {
			t.Errorf("lease %d is %v, want %v", i+1, got, c.want)
		}
	}
	must(t, s.EndLease(t.Context(), "c1", "v_1"))
	must(t, s.EndLease(t.Context(), "c1", "gone"))
	var wg sync.WaitGroup
	got, errs := make([]bool, 8), make([]error, 8)
	for i := range got {
		wg.Go(func() {
			got[i], errs[i] = s.LeaseSecret(t.Context(), "c1", "v_1", epoch().Add(time.Minute), epoch().Add(time.Hour))
		})
	}
	wg.Wait()
	n := 0
	for i := range got {
		must(t, errs[i])
		if got[i] {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d processes have the lease", n)
	}
	same(t, read(t, s, "c1", "v_1"), secret("c1", "v_1"))
}

func concurrent(t *testing.T, s store.Store) {
	const writers, each = 8, 20
	var wg sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := s.PutSecret(t.Context(), secret(fmt.Sprint("c", w%3), fmt.Sprintf("v_%d_%d", w, i))); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		must(t, err)
	}
	all, err := s.SecretsNotUnder(t.Context(), "none", "", "", writers*each+1)
	must(t, err)
	if len(all) != writers*each {
		t.Errorf("%d secrets are stored, want %d", len(all), writers*each)
	}
}

func canceled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Secret(ctx, "c1", "v_1")
	if kind := fault.KindOf(err); kind != fault.Canceled {
		t.Errorf("kind is %v, want canceled (%v)", kind, err)
	}
}

func put(t *testing.T, s store.Store, n store.Secret) {
	t.Helper()
	must(t, s.PutSecret(t.Context(), n))
	if !n.ResolveTime.IsZero() {
		must(t, s.TouchSecret(t.Context(), n.Connection, n.Version, n.ResolveTime))
	}
}

func read(t *testing.T, s store.Store, connection, version string) store.Secret {
	t.Helper()
	n, err := s.Secret(t.Context(), connection, version)
	must(t, err)
	return n
}

func versions(t *testing.T, s store.Store, connection string) []string {
	t.Helper()
	all, err := s.SecretsNotUnder(t.Context(), "none", "", "", 1000)
	must(t, err)
	var list []string
	for _, n := range all {
		if n.Connection == connection {
			list = append(list, n.Version)
		}
	}
	slices.Sort(list)
	return list
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error is %v, want %v %s", err, kind, reason)
	}
}
