// SPDX-License-Identifier: Apache-2.0

package scim_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/scim"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const issuer = "https://auth.example.com"

// people keeps the users and teams of one identity provider as the control plane does, without its rules about others.
type people struct {
	users    []directory.Provisioned
	teams    []directory.ProvisionedTeam
	revision uint64
	meets    int   // how many changes meet another one
	fails    error // answers everything
}

func (p *people) next() (etag string, revision uint64) {
	p.revision++
	return fmt.Sprint("e", p.revision), p.revision
}

func (p *people) ListUsers(_ context.Context, provider string, w directory.Wanted) (page []directory.Provisioned, total int, err error) {
	if p.fails != nil || provider != "entra" {
		return nil, 0, p.fails
	}
	for _, u := range p.users {
		if u.Deleted || w.UID != "" && u.UID != w.UID || w.Name != "" && !strings.EqualFold(u.UserName, w.Name) || w.ExternalID != "" && u.ExternalID != w.ExternalID {
			continue
		}
		if total++; total > int(w.Skip) && len(page) < int(w.Count) {
			page = append(page, u)
		}
	}
	return page, total, nil
}

func (p *people) PutUser(_ context.Context, _ string, u directory.Provisioned) (directory.Provisioned, uint64, error) {
	if p.fails != nil {
		return directory.Provisioned{}, 0, p.fails
	}
	if p.meets > 0 {
		p.meets--
		return directory.Provisioned{}, 0, fault.New(fault.Conflict, "ETAG_STALE", "It was changed.")
	}
	at := slices.IndexFunc(p.users, func(one directory.Provisioned) bool { return one.UID == u.UID })
	for i, one := range p.users {
		if i != at && !one.Deleted && strings.EqualFold(one.UserName, u.UserName) {
			return directory.Provisioned{}, 0, fault.New(fault.AlreadyExists, "PROVISIONING_CONFLICT", "There is another one.")
		}
	}
	if at < 0 {
		u.UID, u.CreateTime = fmt.Sprintf("u-%d", len(p.users)+1), time.Unix(1_700_000_000, 0)
		if u.Email = cmp.Or(u.Email, u.UserName); !strings.Contains(u.Email, "@") {
			return directory.Provisioned{}, 0, fault.New(fault.Invalid, "PROVISIONING_REFUSED", "There is no address.")
		}
		p.users = append(p.users, u)
		at = len(p.users) - 1
	}
	stored, now := p.users[at], u
	now.Email, now.CreateTime, now.UpdateTime, now.Etag = stored.Email, stored.CreateTime, stored.UpdateTime, stored.Etag
	if now == stored && stored.Etag != "" {
		return stored, 0, nil
	}
	var revision uint64
	now.Etag, revision = p.next()
	now.UpdateTime = time.Unix(1_700_000_000+int64(revision), 0)
	p.users[at] = now
	return now, revision, nil
}

func (p *people) ListTeams(_ context.Context, _ string, w directory.Wanted) (page []directory.ProvisionedTeam, total int, err error) {
	for _, t := range p.teams {
		if w.UID != "" && t.UID != w.UID || w.Name != "" && !strings.EqualFold(t.DisplayName, w.Name) || w.ExternalID != "" && t.ExternalID != w.ExternalID {
			continue
		}
		if w.WithoutMembers {
			t.Members = nil
		}
		if total++; total > int(w.Skip) && len(page) < int(w.Count) {
			page = append(page, t)
		}
	}
	return page, total, p.fails
}

func (p *people) ChangeTeam(_ context.Context, _ string, c directory.TeamChange) (directory.ProvisionedTeam, uint64, error) {
	at := slices.IndexFunc(p.teams, func(one directory.ProvisionedTeam) bool { return one.UID == c.UID })
	for i, one := range p.teams {
		if i != at && strings.EqualFold(one.DisplayName, c.DisplayName) {
			return directory.ProvisionedTeam{}, 0, fault.New(fault.AlreadyExists, "PROVISIONING_CONFLICT", "There is another one.")
		}
	}
	if c.Deleted {
		p.teams = slices.Delete(p.teams, at, at+1)
		_, revision := p.next()
		return directory.ProvisionedTeam{}, revision, nil
	}
	if at < 0 {
		p.teams = append(p.teams, directory.ProvisionedTeam{UID: fmt.Sprintf("g-%d", len(p.teams)+1)})
		at = len(p.teams) - 1
	}
	t := &p.teams[at]
	t.DisplayName = cmp.Or(c.DisplayName, t.DisplayName)
	if c.ExternalID != nil {
		t.ExternalID = *c.ExternalID
	}
	t.Members = slices.DeleteFunc(slices.Clone(t.Members), func(uid string) bool { return c.Replace || slices.Contains(c.Remove, uid) })
	for _, uid := range c.Add {
		if !slices.ContainsFunc(p.users, func(u directory.Provisioned) bool { return u.UID == uid }) {
			return directory.ProvisionedTeam{}, 0, fault.New(fault.Invalid, "PROVISIONING_REFUSED", "A member is no user.")
		}
		if !slices.Contains(t.Members, uid) {
			t.Members = append(t.Members, uid)
		}
	}
	var revision uint64
	t.Etag, revision = p.next()
	return *t, revision, nil
}

// world is SCIM for the provider "entra", whose token it has.
type world struct {
	t       *testing.T
	token   string
	people  *people
	view    *directory.View
	store   *sqlstore.Store
	revoked []string
	awaited []uint64
	handler *scim.Handler
}

func newWorld(t *testing.T, change ...func(*scim.Config)) *world {
	t.Helper()
	w := &world{t: t, people: &people{}}
	token, hash := ident.MintSecret("psm_")
	off, offHash := ident.MintSecret("psm_")
	_ = off
	w.token = token
	w.view = directory.NewView(directory.Content{Providers: []*directory.Provider{
		{Name: "entra", ScimTokens: [][sha256.Size]byte{sha256.Sum256([]byte("older")), hash}}, {Name: "off", Disabled: true, ScimTokens: [][sha256.Size]byte{offHash}},
	}})
	var err error
	if w.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "authserver.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	limiter, err := limit.New(limit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := scim.Config{
		Issuer: issuer, View: func() *directory.View { return w.view }, Directory: w.people, Store: w.store, Limiter: limiter,
		Await:      func(_ context.Context, revision uint64) error { w.awaited = append(w.awaited, revision); return nil },
		RevokeUser: func(_ context.Context, user string) error { w.revoked = append(w.revoked, user); return nil },
		Log:        slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	if w.handler, err = scim.New(c); err != nil {
		t.Fatal(err)
	}
	return w
}

// answer is what came back; Body is nil where there is none.
type answer struct {
	Status int
	Header http.Header
	Body   map[string]any
}

// send sends a request with the provider's token. body is JSON, or the name of a file of testdata.
func (w *world) send(method, path, body string, header ...string) answer {
	w.t.Helper()
	if strings.HasSuffix(body, ".json") {
		text, err := os.ReadFile(filepath.Join("testdata", body))
		if err != nil {
			w.t.Fatal(err)
		}
		body = string(text)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, issuer+"/scim/v2"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+w.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Del(pair[0])
		if value := pair[len(pair)-1]; value != "" {
			r.Header.Set(pair[0], value)
		}
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	a := answer{Status: rec.Code, Header: rec.Header()}
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &a.Body); err != nil || rec.Header().Get("Content-Type") != "application/scim+json" {
			w.t.Fatalf("%s %s: %q, %v", method, path, rec.Body.String(), err)
		}
	}
	if rec.Header().Get("Cache-Control") != "no-store" {
		w.t.Errorf("%s %s may be kept", method, path)
	}
	return a
}

// audit returns the actions recorded, each with its target or reason.
func (w *world) audit() (list []string) {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range records {
		if r.Event.Actor != "entra" {
			w.t.Errorf("recorded %+v", r.Event)
		}
		list = append(list, r.Event.Action+" "+r.Event.Target+r.Event.Reason)
	}
	return list
}
