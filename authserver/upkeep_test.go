// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/router"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// tidied is an upkeep on a real store whose directory a test makes.
type tidied struct {
	upkeep
	t       *testing.T
	view    *directory.View
	offline bool
	at      time.Time

	kept map[string]bool // keys of tokens; those that begin with "stray" are
}

// Strays and Forget implement subjects.
func (u *tidied) Strays(context.Context, *directory.View) ([]string, error) {
	var list []string
	for key := range u.kept {
		if strings.HasPrefix(key, "stray") {
			list = append(list, key)
		}
	}
	return list, nil
}

func (u *tidied) Forget(_ context.Context, key string) error {
	delete(u.kept, key)
	return nil
}

// Tokens that are kept of what is gone go like passwords: at the second look, with a control plane that is heard at both.
func TestTokensOfTheGone(t *testing.T) {
	u := newTidied(t)
	u.kept = map[string]bool{"stray": true, "here": true}
	u.users("here")
	for i, offline := range []bool{false, true, false} {
		u.offline = offline
		if u.goRound(); !u.kept["stray"] {
			t.Fatalf("gone after round %d", i+1)
		}
	}
	if u.goRound(); u.kept["stray"] || !u.kept["here"] {
		t.Errorf("kept: %v", u.kept)
	}
}

func newTidied(t *testing.T) *tidied {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	u := &tidied{t: t, at: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}
	u.upkeep = upkeep{
		store: db, subjects: u, state: func() *directory.View { return u.view }, fresh: func() bool { return !u.offline },
		now: func() time.Time { return u.at }, log: slog.New(slog.DiscardHandler),
	}
	return u
}

func (u *tidied) users(uids ...string) {
	var c directory.Content
	for _, uid := range uids {
		c.Users = append(c.Users, &directory.User{User: compile.User{UID: uid, Name: uid, Deactivated: uid == "off"}})
	}
	u.view = directory.NewView(c)
}

func (u *tidied) update(fn func(ctx context.Context, tx store.OAuthTx) error) {
	u.t.Helper()
	if err := u.store.Update(u.t.Context(), fn); err != nil {
		u.t.Fatal(err)
	}
}

func (u *tidied) password(uid string, set time.Time) {
	u.t.Helper()
	u.update(func(ctx context.Context, tx store.OAuthTx) error {
		return tx.PutPassword(ctx, store.Password{User: uid, Encoded: "$argon2id$x", UpdateTime: set})
	})
}

func (u *tidied) goRound() {
	u.t.Helper()
	if err := u.round(u.t.Context()); err != nil {
		u.t.Fatal(err)
	}
}

func (u *tidied) has(uid string) bool {
	u.t.Helper()
	_, err := u.store.Password(u.t.Context(), uid)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		u.t.Fatal(err)
	}
	return err == nil
}

func TestPasswordsOfTheGone(t *testing.T) {
	u := newTidied(t)
	old := u.at.Add(-2 * time.Hour)
	for _, uid := range []string{"here", "off", "gone"} {
		u.password(uid, old)
	}
	u.password("new", u.at.Add(-time.Minute))
	u.goRound() // there is no directory yet
	u.users("here", "off")
	u.offline = true
	u.goRound()
	u.goRound()
	u.offline = false
	u.goRound()
	if !u.has("gone") {
		t.Fatal("removed at the first look")
	}
	u.users("here", "off", "gone")
	u.goRound()
	u.users("here", "off")
	u.goRound()
	u.offline = true
	u.goRound()
	u.offline = false
	u.goRound()
	if !u.has("gone") {
		t.Fatal("removed though it was back, or the control plane away, in between")
	}
	u.goRound()
	if u.has("gone") || !u.has("here") || !u.has("off") || !u.has("new") {
		t.Error("not exactly the password of who is gone was removed")
	}
	records, err := u.store.Audit(t.Context(), 0, 10)
	if err != nil || len(records) != 1 || records[0].Event.Action != "password.removed" || records[0].Event.Target != "gone" {
		t.Errorf("recorded: %+v, %v", records, err)
	}
}

// One round removes all that is over, not only the first thousand.
func TestCollectGoesOn(t *testing.T) {
	u := newTidied(t)
	u.update(func(ctx context.Context, tx store.OAuthTx) error {
		for i := range 2500 {
			if err := tx.PutTicket(ctx, store.Ticket{
				Kind: "authorization", Hash: sha256.Sum256(fmt.Append(nil, i)), Data: []byte("{}"), ExpireTime: u.at.Add(-2 * time.Hour),
			}); err != nil {
				return err
			}
		}
		return nil
	})
	u.goRound()
	u.update(func(ctx context.Context, tx store.OAuthTx) error {
		if n, err := tx.Collect(ctx, u.at); err != nil || n != 0 {
			t.Errorf("%d are left, %v", n, err)
		}
		return nil
	})
}

// TestLimitsOfRoutes: addresses and clients are limited where RL-1 wants it, and registrations once (REG-9).
func TestLimitsOfRoutes(t *testing.T) {
	byPath := make(map[string]router.Route)
	for _, r := range new(authorization).routes() {
		byPath[r.Path] = r
	}
	for path, want := range map[string][2]string{
		"/api/auth/oauth2/authorize": {limit.Authorize, limit.AuthorizeClient},
		"/api/auth/oauth2/consent":   {limit.Authorize, ""},
		"/api/auth/oauth2/token":     {limit.Token, limit.TokenClient},
		"/api/auth/oauth2/revoke":    {limit.Token, limit.TokenClient},
		"/api/auth/oauth2/register":  {"", ""}, // by the handler
		"/login":                     {limit.Login, ""},
		"/login/password":            {limit.Login, ""},
	} {
		if got := byPath[path]; got.Bucket != want[0] || got.ClientBucket != want[1] {
			t.Errorf("%s is limited by %q and %q", path, got.Bucket, got.ClientBucket)
		}
	}
}

// TestAssetsOfAPathIssuer: pages of an issuer with a path name their style sheet below it, and it is there.
func TestAssetsOfAPathIssuer(t *testing.T) {
	limiter, err := limit.New(limit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := router.New(router.Config{
		Issuer: "https://auth.example.com/t1", Routes: new(authorization).routes(), Limiter: limiter,
		Log: slog.New(slog.DiscardHandler), Meter: noop.NewMeterProvider(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"/t1/assets/pages.css": 200, "/t1/assets/none.css": 404, "/assets/pages.css": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		if w.Code != status {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
