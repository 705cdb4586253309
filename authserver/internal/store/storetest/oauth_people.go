// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func clients(t *testing.T, s store.Store) {
	want := client("c1")
	want.SecretHash, want.ManageHash, want.UseTime = hash("secret"), hash("manage"), at(3)
	want.Metadata = []byte("{\"n\":\"\x00\xff\"}") // any bytes
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		made, err := tx.CreateClient(ctx, want)
		same(t, made, want)
		return err
	})
	same(t, got[store.Client](t)(s.Client(t.Context(), "c1")), want)
	_, err := s.Client(t.Context(), "c2")
	wantMissing(t, err)
	for range 2 { // idempotent
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteClient(ctx, "c1") })
	}
	_, err = s.Client(t.Context(), "c1")
	wantMissing(t, err)
}

// Whoever sends such an id must not make the database fail.
func oddClients(t *testing.T, s store.Store) {
	for _, id := range []string{"", "a\x00b", "\xff\xfe", "'; --", "https://client.example/c.json"} {
		_, err := s.Client(t.Context(), id)
		wantMissing(t, err)
		_, err = s.Consent(t.Context(), "u1", id, id, "g1")
		wantMissing(t, err)
		_, err = s.Grant(t.Context(), id)
		wantMissing(t, err)
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
			_, err := tx.RevokeGrant(ctx, id, at(1))
			return errors.Join(err, tx.TouchClient(ctx, id, at(1), at(2)), tx.DeleteClient(ctx, id), tx.DeleteConsents(ctx, "u1", id, id))
		})
	}
}

func sharedClients(t *testing.T, s store.Store) {
	register := func(id string, minute int, fingerprint store.Hash) store.Client {
		c := client(id)
		c.Fingerprint, c.CreateTime, c.ExpireTime = fingerprint, at(minute), at(minute+1000)
		var made store.Client
		update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
			made, err = tx.CreateClient(ctx, c)
			return err
		})
		return made
	}
	first := register("c1", 0, hash("same"))
	again := register("c2", 100, hash("same"))
	first.ExpireTime = at(1100)
	same(t, again, first)
	if early := register("c3", 50, hash("same")); !early.ExpireTime.Equal(at(1100)) {
		t.Errorf("the end moved back to %v", early.ExpireTime)
	}
	if other := register("c4", 100, hash("other")); other.ID != "c4" {
		t.Errorf("another registration got the client %s", other.ID)
	}
	if renewed := register("c5", 1100, hash("same")); renewed.ID != "c5" {
		t.Errorf("a registration at the end of an equal one got the client %s", renewed.ID)
	}
	if renewed := register("c6", 1101, hash("same")); renewed.ID != "c5" {
		t.Errorf("a registration after the renewal got the client %s", renewed.ID)
	}
	for _, id := range []string{"c7", "c8"} {
		if own := register(id, 0, store.Hash{}); own.ID != id {
			t.Errorf("a client that is never shared got the id %s", own.ID)
		}
	}
	_, err := s.Client(t.Context(), "c2")
	wantMissing(t, err)
}

func concurrentClients(t *testing.T, s store.Store) {
	over := client("over") // one that is over at the same time makes it no easier
	over.Fingerprint, over.ExpireTime = hash("same"), at(0)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		_, err := tx.CreateClient(ctx, over)
		return err
	})
	var (
		mu  sync.Mutex
		ids = map[string]bool{}
	)
	parallel(t, s, 20, func(ctx context.Context, tx store.OAuthTx, i int) (bool, error) {
		c := client(fmt.Sprint("c", i))
		c.Fingerprint, c.CreateTime = hash("same"), at(1)
		made, err := tx.CreateClient(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			ids[made.ID] = true
		}
		return false, err
	})
	if len(ids) != 1 || ids["over"] {
		t.Errorf("20 equal registrations got the clients %v, want one new one", ids)
	}
	if n := got[int](t)(s.UnusedClients(t.Context())); n != 2 {
		t.Errorf("%d clients are stored, want 2", n)
	}
}

func touchClients(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		for _, id := range []string{"c1", "c2", "c3"} {
			if _, err := tx.CreateClient(ctx, client(id)); err != nil {
				return err
			}
		}
		return nil
	})
	if n := got[int](t)(s.UnusedClients(t.Context())); n != 3 {
		t.Errorf("%d unused clients, want 3", n)
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.TouchClient(ctx, "c1", at(20), at(2000)), tx.TouchClient(ctx, "c1", at(10), at(1500)), tx.TouchClient(ctx, "gone", at(1), at(2)))
	})
	want := client("c1")
	want.UseTime, want.ExpireTime = at(20), at(2000)
	same(t, got[store.Client](t)(s.Client(t.Context(), "c1")), want)
	same(t, got[store.Client](t)(s.Client(t.Context(), "c2")), client("c2"))
	if n := got[int](t)(s.UnusedClients(t.Context())); n != 2 {
		t.Errorf("%d unused clients, want 2", n)
	}
}

func tickets(t *testing.T, s store.Store) {
	want := store.Ticket{Kind: "authorization", Hash: hash("t"), Data: []byte("{\"state\":\"\x00\xff\"}"), ExpireTime: at(5)}
	other := want
	other.Kind, other.Data = "federation", []byte(`{}`)
	put := func(n store.Ticket) func(context.Context, store.OAuthTx) error {
		return func(ctx context.Context, tx store.OAuthTx) error { return tx.PutTicket(ctx, n) }
	}
	update(t, s, put(want))
	update(t, s, put(other))
	wantExists(t, s, put(want))
	same(t, got[store.Ticket](t)(s.Ticket(t.Context(), "authorization", hash("t"))), want)
	take := func(kind string) (n store.Ticket, err error) {
		err = s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) (err error) {
			n, err = tx.TakeTicket(ctx, kind, hash("t"))
			return err
		})
		return n, err
	}
	same(t, got[store.Ticket](t)(take("authorization")), want)
	_, err := take("authorization")
	wantMissing(t, err)
	_, err = s.Ticket(t.Context(), "authorization", hash("t"))
	wantMissing(t, err)
	same(t, got[store.Ticket](t)(take("federation")), other)
}

func concurrentTickets(t *testing.T, s store.Store) {
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutTicket(ctx, store.Ticket{Kind: "k", Hash: hash("t"), Data: []byte(`{}`), ExpireTime: at(5)})
	})
	taken := parallel(t, s, 20, func(ctx context.Context, tx store.OAuthTx, _ int) (bool, error) {
		_, err := tx.TakeTicket(ctx, "k", hash("t"))
		if errors.Is(err, store.RowMissing()) {
			return false, nil
		}
		return true, err
	})
	if taken != 1 {
		t.Errorf("%d took the ticket, want 1", taken)
	}
}

func logins(t *testing.T, s store.Store) {
	want := store.Login{
		Hash: hash("l1"), User: "u1", Provider: "corp", AMR: []string{"pwd", "mfa"}, AuthTime: at(0), UseTime: at(1), ExpireTime: at(600),
	}
	bare := store.Login{Hash: hash("l2"), User: "u1", AuthTime: at(0), UseTime: at(0), ExpireTime: at(600)}
	others := bare
	others.Hash, others.User = hash("l3"), "u2"
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.PutLogin(ctx, want), tx.PutLogin(ctx, bare), tx.PutLogin(ctx, others))
	})
	wantExists(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutLogin(ctx, want) })
	same(t, got[store.Login](t)(s.Login(t.Context(), hash("l2"))), bare)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.TouchLogin(ctx, hash("l1"), at(9)), tx.TouchLogin(ctx, hash("l1"), at(8)), tx.TouchLogin(ctx, hash("gone"), at(8)))
	})
	want.UseTime = at(9)
	same(t, got[store.Login](t)(s.Login(t.Context(), hash("l1"))), want)

	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteLogin(ctx, hash("l1")) })
	_, err := s.Login(t.Context(), hash("l1"))
	wantMissing(t, err)
	mine := store.Login{Hash: hash("l4"), User: "u1", Provider: "okta", AMR: []string{}, AuthTime: at(1), UseTime: at(1), ExpireTime: at(2)}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutLogin(ctx, mine) })
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.DeleteProviderLogins(ctx, "u1", "elsewhere")
	})
	if _, err := s.Login(t.Context(), hash("l4")); err != nil {
		t.Errorf("the login with another provider: %v", err)
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteProviderLogins(ctx, "u1", "okta") })
	_, err = s.Login(t.Context(), hash("l4"))
	wantMissing(t, err)
	same(t, got[store.Login](t)(s.Login(t.Context(), hash("l2"))), bare)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteLogins(ctx, "u1") })
	_, err = s.Login(t.Context(), hash("l2"))
	wantMissing(t, err)
	same(t, got[store.Login](t)(s.Login(t.Context(), hash("l3"))), others)
}

func sessions(t *testing.T, s store.Store) {
	login := func(name, user, provider, session string) store.Login {
		return store.Login{Hash: hash(name), User: user, Provider: provider, Session: session, AuthTime: at(0), UseTime: at(0), ExpireTime: at(600)}
	}
	list := []store.Login{
		login("a", "u1", "corp", "s1"), login("b", "u1", "corp", "s1"), login("c", "u2", "corp", "s1"), login("d", "u1", "corp", "s2"),
		login("e", "u1", "okta", "s1"), login("f", "u1", "corp", ""),
	}
	mine, open, redeemed, other := grant("g1"), code("open"), code("redeemed"), code("other")
	for _, g := range []*store.Grant{&mine, &open.Grant, &redeemed.Grant} {
		g.Session = "s1"
	}
	other.Grant.Session = "s2"
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		for _, l := range list {
			err = errors.Join(err, tx.PutLogin(ctx, l))
		}
		return errors.Join(err, tx.PutGrant(ctx, mine), tx.PutCode(ctx, open), tx.PutCode(ctx, redeemed), tx.PutCode(ctx, other))
	})
	told(t, s, true, redeem("redeemed", 0))
	same(t, got[store.Login](t)(s.Login(t.Context(), hash("a"))), list[0])
	grants := func(provider, session string) (ids []string) {
		for _, g := range got[[]store.Grant](t)(s.SessionGrants(t.Context(), provider, session, at(1))) {
			ids = append(ids, g.ID+" "+g.Session)
		}
		return ids
	}
	same(t, grants("corp", "s1"), []string{"g1 s1", "grant of redeemed s1"})
	for _, none := range [][2]string{{"corp", ""}, {"okta", "s1"}, {"corp", "s3"}, {"corp", "a\x00b"}} {
		same(t, grants(none[0], none[1]), nil)
	}
	end := func(provider, session string) (users []string) {
		update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
			users, err = tx.DeleteSession(ctx, provider, session)
			return err
		})
		return users
	}
	for _, none := range [][2]string{{"corp", ""}, {"corp", "s3"}, {"corp", "a\x00b"}} {
		same(t, end(none[0], none[1]), nil)
	}
	same(t, end("corp", "s1"), []string{"u1", "u2"})
	for i, l := range list {
		if _, err := s.Login(t.Context(), l.Hash); (err == nil) != (i > 2) {
			t.Errorf("login %d: %v", i, err)
		}
	}
	_, err := s.Code(t.Context(), hash("open"))
	wantMissing(t, err)
	for _, name := range []string{"redeemed", "other"} {
		_, err := s.Code(t.Context(), hash(name))
		must(t, err)
	}
}

func endedUsers(t *testing.T, s store.Store) {
	ended := func() time.Time { return got[time.Time](t)(s.Ended(t.Context(), "u1")) }
	if at := ended(); !at.IsZero() {
		t.Errorf("ended at %v, want never", at)
	}
	for _, minute := range []int{5, 9, 7} {
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutEnded(ctx, "u1", at(minute)) })
	}
	same(t, ended(), at(9))
	if at := got[time.Time](t)(s.Ended(t.Context(), "u2")); !at.IsZero() {
		t.Errorf("somebody else ended at %v", at)
	}
}

func consents(t *testing.T, s store.Store) {
	consent := func(client, redirectHost, gateway string, minute int) store.Consent {
		return store.Consent{
			User: "u1", Client: client, RedirectHost: redirectHost, Gateway: gateway, Scopes: []string{"mcp"}, Fingerprint: hash(client),
			ClientName: "Ada’s client", CreateTime: at(minute), UpdateTime: at(minute),
		}
	}
	a, b := consent("c1", "https://a.example", "g1", 1), consent("c1", "http://127.0.0.1", "g1", 2)
	other, elsewhere := consent("c2", "https://a.example", "g1", 3), consent("c1", "https://a.example", "g2", 4)
	stranger := a
	stranger.User = "u2"
	all := []store.Consent{a, b, other, elsewhere, stranger}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) (err error) {
		for _, c := range all {
			err = errors.Join(err, tx.PutConsent(ctx, c))
		}
		return err
	})
	same(t, got[[]store.Consent](t)(s.Consents(t.Context(), "u1")), []store.Consent{elsewhere, other, b, a})

	a.Scopes, a.Fingerprint, a.ClientName, a.UpdateTime = []string{"mcp", "mcp:write"}, hash("changed"), "Eve", at(9)
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutConsent(ctx, a) })
	same(t, got[store.Consent](t)(s.Consent(t.Context(), "u1", "c1", "https://a.example", "g1")), a)
	same(t, got[store.Consent](t)(s.Consent(t.Context(), "u1", "c1", "http://127.0.0.1", "g1")), b)
	_, err := s.Consent(t.Context(), "u1", "c1", "https://b.example", "g1")
	wantMissing(t, err)

	update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteConsents(ctx, "u1", "c1", "g1") })
	same(t, got[[]store.Consent](t)(s.Consents(t.Context(), "u1")), []store.Consent{elsewhere, other})
	same(t, got[[]store.Consent](t)(s.Consents(t.Context(), "u2")), []store.Consent{stranger})
}

func passwords(t *testing.T, s store.Store) {
	const first, second = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$b3RoZXI"
	for minute, encoded := range []string{first, second} {
		want := store.Password{User: "u1", Encoded: encoded, UpdateTime: at(minute)}
		update(t, s, func(ctx context.Context, tx store.OAuthTx) error { return tx.PutPassword(ctx, want) })
		same(t, got[store.Password](t)(s.Password(t.Context(), "u1")), want)
	}
	// What is no argon2id hash may be the password itself (SE-1).
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutPassword(ctx, store.Password{User: "u2", Encoded: "hunter2", UpdateTime: at(0)})
	}); err == nil {
		t.Error("a password in clear was stored")
	}
	update(t, s, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.DeletePassword(ctx, "u1"), tx.DeletePassword(ctx, "u2"))
	})
	for _, user := range []string{"u1", "u2"} {
		_, err := s.Password(t.Context(), user)
		wantMissing(t, err)
	}
}
