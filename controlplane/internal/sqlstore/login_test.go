// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// inStep runs writes with the worst timing there is: all have looked, and nobody has committed.
func inStep(t *testing.T, dsn string, writes ...func()) {
	t.Helper()
	conn := side(t, dsn)
	exec(t, conn, "SELECT pg_advisory_lock($1)", int64(advisoryLock))
	var wg sync.WaitGroup
	for _, write := range writes {
		wg.Go(write)
	}
	eventually(t, "all wait", func() bool {
		var waiting int
		if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		return waiting == len(writes)
	})
	exec(t, conn, "SELECT pg_advisory_unlock($1)", int64(advisoryLock))
	wg.Wait()
}

// loginWorld is a catalog on PostgreSQL with the identity provider "idp", which makes users.
func loginWorld(t *testing.T) (c *catalog.Catalog, s *sqlstore.Store, dsn string) {
	t.Helper()
	dsn = engines()["PostgreSQL"](t)
	s = open(t, sqlstore.Config{DSN: dsn})
	c = catalog.New(catalog.Config{Store: s})
	provider := &catalog.IdentityProvider{
		Meta: catalog.Meta{Name: "idp"}, Issuer: "https://idp.example.com", ClientID: "penstock", JustInTimeUsers: true,
	}
	if _, err := c.Create(t.Context(), catalog.Caller{System: true}, provider, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return c, s, dsn
}

// Everybody who logs in for the first time on one morning gets in.
func TestFirstLoginsOfMany(t *testing.T) {
	const people = 60
	c, _, _ := loginWorld(t)
	var wg sync.WaitGroup
	for i := range people {
		wg.Go(func() {
			email := fmt.Sprintf("n%d@example.com", i)
			got, err := c.LoginUser(t.Context(), catalog.Login{Provider: "idp", Subject: fmt.Sprint(i), Email: email, EmailVerified: true, Actor: "test"})
			if err != nil || got.User != email {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// First logins of one account make one user, whatever their timing and at whichever control plane.
func TestFirstLoginsInStep(t *testing.T) {
	const logins = 4
	_, s, dsn := loginWorld(t)
	users := make([]string, logins)
	writes := make([]func(), logins)
	for i := range logins {
		c := catalog.New(catalog.Config{Store: s})
		writes[i] = func() {
			got, err := c.LoginUser(t.Context(), catalog.Login{
				Provider: "idp", Subject: "new", Email: fmt.Sprintf("new%d@example.com", i), EmailVerified: true, Actor: "test",
			})
			if err != nil {
				t.Error(err)
			}
			users[i] = got.User
		}
	}
	inStep(t, dsn, writes...)
	if len(slices.Compact(users)) != 1 {
		t.Errorf("one account became the users %v", users)
	}
}

// An account that administrators give to several users, and that logs in for the first time, all at the same moment, is
// one user's.
func TestOneAccountInStep(t *testing.T) {
	c, _, dsn := loginWorld(t)
	account := resource.Identity{Issuer: "https://idp.example.com", Subject: "x"}
	root := catalog.Caller{System: true}
	for _, name := range []string{"ann@example.com", "bob@example.com"} {
		if _, err := c.Create(t.Context(), root, &catalog.User{Meta: catalog.Meta{Name: name}}, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var taken atomic.Int32
	refused := func(err error) {
		if err == nil {
			return
		}
		if f := fault.From(err); f.Kind != fault.Invalid || !strings.Contains(f.Public, "the account is of the user") {
			t.Error(err)
		}
		taken.Add(1)
	}
	update := func(name string) func() {
		return func() {
			_, err := c.Update(t.Context(), root, &catalog.User{Meta: catalog.Meta{Name: name}, Identities: []resource.Identity{account}}, []string{"identities"}, catalog.WriteOptions{})
			refused(err)
		}
	}
	loggedIn := ""
	inStep(t, dsn, update("ann@example.com"), update("bob@example.com"), func() {
		_, err := c.Create(t.Context(), root, &catalog.User{Meta: catalog.Meta{Name: "cid@example.com"}, Identities: []resource.Identity{account}}, catalog.WriteOptions{})
		refused(err)
	}, func() {
		got, err := c.LoginUser(t.Context(), catalog.Login{Provider: "idp", Subject: "x", Email: "dot@example.com", EmailVerified: true, Actor: "test"})
		if err != nil {
			t.Error(err)
		}
		loggedIn = got.User
	})
	page, err := c.List(t.Context(), root, catalog.KindUser, catalog.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var owners []string
	for _, o := range page.Objects {
		if u := o.(*catalog.User); slices.Contains(u.Identities, account) {
			owners = append(owners, u.Name)
		}
	}
	if len(owners) != 1 || owners[0] != loggedIn || taken.Load() < 2 {
		t.Errorf("the account is of %v, %q logged in, %d were refused", owners, loggedIn, taken.Load())
	}
}

// An issuer that two identity providers are made with at the same moment has one.
func TestOneIssuerInStep(t *testing.T) {
	c, _, dsn := loginWorld(t)
	var made atomic.Int32
	create := func(name string) func() {
		return func() {
			p := &catalog.IdentityProvider{Meta: catalog.Meta{Name: name}, Issuer: "https://other.example.com", ClientID: "penstock"}
			_, err := c.Create(t.Context(), catalog.Caller{System: true}, p, catalog.WriteOptions{})
			switch {
			case err == nil:
				made.Add(1)
			case fault.KindOf(err) != fault.Invalid:
				t.Error(err)
			}
		}
	}
	inStep(t, dsn, create("one"), create("two"), create("three"))
	if made.Load() != 1 {
		t.Errorf("an issuer has %d identity providers", made.Load())
	}
}
