// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	callback = authorizetest.Callback
	loopback = "http://localhost:51004/callback"
	app      = "cursor://anysphere.cursor-mcp/oauth/callback"
)

func world(t *testing.T, s authorizetest.Settings) *authorizetest.World {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return authorizetest.New(t, st, s)
}

// code returns the code that an answer takes to the client, as it is stored.
func code(t *testing.T, w *authorizetest.World, a authorizetest.Answer) store.Code {
	t.Helper()
	_, v := a.Location()
	if a.Status != http.StatusSeeOther || v.Get("state") != "st" || v.Get("iss") != authorizetest.Issuer || v.Has("error") {
		t.Fatalf("there is no code: %d %v\n%s", a.Status, a.Header, a.Body)
	}
	hash, ok := ident.ParseSecret("psa_", v.Get("code"))
	if !ok {
		t.Fatalf("the code is %q", v.Get("code"))
	}
	c, err := w.Store.Code(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func asked(t *testing.T, a authorizetest.Answer) bool {
	t.Helper()
	return a.Status == http.StatusOK && strings.Contains(a.Body, `value="allow"`)
}

// TestCode is AZ-3, AZ-6 and AZ-19: what a code is bound to, and the events of its birth.
func TestCode(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	login := w.Now()
	w.Wait(time.Minute)
	got := code(t, w, b.Allow(authorizetest.Params("acme", loopback, "resource", authorizetest.ResourceA+"/", "scope", "mcp offline_access")))
	if _, err := uuid.Parse(got.Grant.ID); err != nil {
		t.Errorf("the grant's ID is no UUID: %v", err)
	}
	want := store.Code{
		Hash: got.Hash, RedirectURI: loopback, Challenge: authorizetest.Challenge, ExpireTime: w.Now().Add(time.Minute),
		Grant: store.Grant{
			ID: got.Grant.ID, User: "u1", Client: "acme", RedirectHost: "http://localhost", Gateway: "gw-a", Resource: authorizetest.ResourceA,
			Scopes: []string{"mcp", "offline_access"}, AMR: []string{"pwd", "otp"}, Provider: "okta", AuthTime: login,
			CreateTime: w.Now(), ExpireTime: w.Now().Add(90 * 24 * time.Hour),
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the code is not what was asked (-want +got):\n%s", d)
	}
	gid := sha256.Sum256([]byte(got.Grant.ID))
	event := store.Event{
		ActorType: "user", Actor: "u1", Client: "acme", Target: "gw-a", Result: "ok",
		IP: "192.0.2.7", UserAgent: "test", RequestID: authorizetest.RequestID,
	}
	for action, hash := range map[string]string{"consent.granted": "", "code.issued": hex.EncodeToString(gid[:])} {
		events := w.Events(action)
		if len(events) != 1 {
			t.Fatalf("%d events of %s", len(events), action)
		}
		event.Action, event.Grant, event.Time = action, hash, events[0].Time
		if d := cmp.Diff(event, events[0]); d != "" {
			t.Errorf("%s (-want +got):\n%s", action, d)
		}
	}
	kept, err := w.Store.Consent(t.Context(), "u1", "acme", "http://localhost", "gw-a")
	if err != nil {
		t.Fatal(err)
	}
	if kept.ClientName != "Acme" || !slices.Equal(kept.Scopes, want.Grant.Scopes) || kept.Fingerprint == (store.Hash{}) || !kept.CreateTime.Equal(w.Now()) {
		t.Errorf("the consent is %+v", kept)
	}
}

// TestAnswerKeepsTheQuery: a redirect URI's own query stays in front.
func TestAnswerKeepsTheQuery(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	a := w.As("u1").Allow(authorizetest.Params("query", "https://c.example/cb?tenant=1"))
	if !strings.HasPrefix(a.Header.Get("Location"), "https://c.example/cb?tenant=1&code=psa_") {
		t.Errorf("the answer goes to %q", a.Header.Get("Location"))
	}
}

// TestAccess is AZ-5 and AZ-7.
func TestAccess(t *testing.T) {
	p := authorizetest.Params
	b, none := authorizetest.ResourceB, "static"
	for name, c := range map[string]struct {
		user            string
		ask             url.Values
		defaultResource string
		gateway         string // of the code
		err             string
	}{
		"member":                    {"u1", p("acme", callback), "", "gw-a", ""},
		"u1 and RB":                 {"u1", p("acme", callback, "resource", b), "", "", "access_denied"},
		"deactivated user":          {"u3", p("acme", callback), "", "", "access_denied"},
		"no OAuth":                  {"u1", p("acme", callback, "resource", "https://gw.example.com/v1/mcp/"+none), "", "", "access_denied"},
		"no resource, one gateway":  {"u1", p("acme", callback, "resource", ""), "", "gw-a", ""},
		"no resource, two gateways": {"u2", p("acme", callback, "resource", ""), "", "", "invalid_target"},
		"no resource, a default":    {"u2", p("acme", callback, "resource", ""), b + "/", "gw-b", ""},
		"default without access":    {"u1", p("acme", callback, "resource", ""), b, "", "access_denied"},
		"resource before default":   {"u2", p("acme", callback), b, "gw-a", ""},
		"unknown scope, no gateway": {"u1", p("acme", callback, "resource", "", "scope", "nope"), "", "", "invalid_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, authorizetest.Settings{DefaultResource: c.defaultResource})
			b := w.As(c.user)
			if c.err == "" {
				if got := code(t, w, b.Allow(c.ask)); got.Grant.Gateway != c.gateway {
					t.Errorf("the code is for %q, want %q", got.Grant.Gateway, c.gateway)
				}
				return
			}
			a, _ := b.Consent(c.ask)
			to, v := a.Location()
			if a.Status != http.StatusSeeOther || to != callback || v.Get("error") != c.err || v.Get("state") != "st" || v.Get("iss") != authorizetest.Issuer {
				t.Fatalf("got %d to %q\n%s", a.Status, a.Header.Get("Location"), a.Body)
			}
			action := "authorize.refused"
			if c.err == "access_denied" {
				action = "access.denied"
			}
			if e := w.Events(action); len(e) != 1 || e[0].Actor != c.user || e[0].Client != "acme" || e[0].Reason != c.err || e[0].RequestID != authorizetest.RequestID {
				t.Errorf("%s is recorded as %+v", action, e)
			}
		})
	}
}

func TestDefaultResourceThatIsNone(t *testing.T) {
	w := world(t, authorizetest.Settings{DefaultResource: "https://gw.example.com/v1/mcp/gone"})
	if _, v := w.As("u1").Ask(authorizetest.Params("acme", callback, "resource", "")).Location(); v.Get("error") != "invalid_target" {
		t.Errorf("the answer is %v", v)
	}
}

// TestScopesOfClients is AZ-8 and REG-10.
func TestScopesOfClients(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	w.Register("dcr_A", map[string]any{"scope": "mcp"})
	w.Register("dcr_B", map[string]any{"grant_types": []string{"authorization_code"}})
	b := w.As("u1")
	for _, c := range []struct {
		client, scope string
		want          []string
	}{
		{"dcr_A", "mcp mcp:write", []string{"mcp"}},
		{"dcr_A", "offline_access", []string{"mcp", "offline_access"}},
		{"dcr_B", "mcp mcp offline_access", []string{"mcp"}},
		{"dcr_B", "", []string{"mcp"}},
	} {
		if got := code(t, w, b.Allow(authorizetest.Params(c.client, callback, "scope", c.scope, "prompt", "consent"))); !slices.Equal(got.Grant.Scopes, c.want) {
			t.Errorf("%s asking %q gets %v, want %v", c.client, c.scope, got.Grant.Scopes, c.want)
		}
	}
	a, _ := b.Consent(authorizetest.Params("dcr_A", callback, "scope", "mcp:write", "resource", ""))
	if _, v := a.Location(); v.Get("error") != "invalid_scope" {
		t.Errorf("a client gets a scope it may not have: %v %d", v, a.Status)
	}
}

func TestNotLoggedIn(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.Browser()
	secret := b.Ask(authorizetest.Params("acme", callback)).Request()
	for range 2 { // the request waits
		if to, v := b.Do(consent.Path+"?request="+secret, nil).Location(); to != "/login" || v.Get("request") != secret {
			t.Errorf("nobody is led to log in: %q", to)
		}
	}
	b.Login("u1")
	if a := b.Do(consent.Path+"?request="+secret, nil); !asked(t, a) {
		t.Errorf("after the login: %d", a.Status)
	}
	// The request belongs to its browser: nobody finishes a login that another began.
	if a := w.As("u1").Do(consent.Path+"?request="+secret, nil); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
		t.Errorf("another browser gets the request: %d", a.Status)
	}
	silent := b.Clone()
	delete(silent.Cookies, "__Host-penstock-login")
	post := silent.Do("/api/auth/oauth2/authorize", authorizetest.Params("acme", callback, "prompt", "none"))
	a := silent.Do(consent.Path+"?request="+post.Request(), nil)
	if _, v := a.Location(); v.Get("error") != "login_required" {
		t.Errorf("prompt=none asks for a login: %d %v", a.Status, v)
	}
}

// TestChangesWhileAsked: what counts is the directory at the moment of the answer.
func TestChangesWhileAsked(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	page, secret := b.Consent(authorizetest.Params("acme", callback))
	full := w.View
	w.View = directory.NewView(directory.Content{Origin: full.Origin, Clients: []*directory.Client{full.Client("acme")}, Users: []*directory.User{full.User("u1")}})
	if _, v := b.Do(consent.Path, authorizetest.Form(page, "allow")).Location(); v.Get("error") != "invalid_target" {
		t.Errorf("a gateway that is gone: %v", v)
	}
	w.View = directory.NewView(directory.Content{Origin: full.Origin, Users: []*directory.User{full.User("u1")}, Gateways: []*directory.Gateway{full.Gateway("gw-a")}})
	if a := b.Do(consent.Path, authorizetest.Form(page, "allow")); a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "client not registered") {
		t.Errorf("a client that is gone: %d", a.Status)
	}
	moved := *full.Client("acme")
	moved.RedirectURIs = []string{"https://elsewhere.example/cb"}
	w.View = directory.NewView(directory.Content{Origin: full.Origin, Clients: []*directory.Client{&moved}})
	if a := b.Do(consent.Path, authorizetest.Form(page, "allow")); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
		t.Errorf("a redirect URI that is gone: %d %v", a.Status, a.Header)
	}
	w.View = nil
	if a := b.Do(consent.Path+"?request="+secret, nil); a.Status != http.StatusServiceUnavailable {
		t.Errorf("without a directory: %d", a.Status)
	}
	w.View = full
	code(t, w, b.Do(consent.Path, authorizetest.Form(page, "allow")))
}

func TestStoreDown(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	for _, decision := range []string{"allow", "deny"} {
		page, _ := b.Consent(authorizetest.Params("acme", callback, "prompt", "consent"))
		mend := w.Break()
		a := b.Do(consent.Path, authorizetest.Form(page, decision))
		mend()
		if to, v := a.Location(); a.Status != http.StatusSeeOther || to != callback || v.Get("error") != "temporarily_unavailable" {
			t.Errorf("%s: got %d %v", decision, a.Status, a.Header)
		}
		if decision == "allow" { // nothing was lost
			code(t, w, b.Do(consent.Path, authorizetest.Form(page, decision)))
		}
	}
}

// TestUseOfClient: a client that registered itself lives on because it is used (REG-9).
func TestUseOfClient(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	w.Register("dcr_A", nil)
	w.As("u1").Allow(authorizetest.Params("dcr_A", callback))
	c, err := w.Store.Client(t.Context(), "dcr_A")
	if err != nil || !c.UseTime.Equal(w.Now()) || !c.ExpireTime.Equal(w.Now().Add(30*24*time.Hour)) {
		t.Errorf("the client is %+v, %v", c, err)
	}
}

// TestNoSecretIsStored is AU-4 and AZ-19: neither code nor request is anywhere in the clear.
func TestNoSecretIsStored(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	page, secret := b.Consent(authorizetest.Params("acme", callback))
	ticket, err := w.Store.Ticket(t.Context(), "authorization", sha256.Sum256([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	_, v := b.Do(consent.Path, authorizetest.Form(page, "allow")).Location()
	all, err := w.Store.Audit(context.WithoutCancel(t.Context()), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{secret, v.Get("code"), b.Cookies["__Host-penstock-request"], b.Cookies["__Host-penstock-login"]} {
		if strings.Contains(string(ticket.Data), hidden) {
			t.Errorf("the ticket holds %q", hidden)
		}
		for _, one := range all {
			if strings.Contains(cmp.Diff(store.Event{}, one.Event), hidden) {
				t.Errorf("an event holds %q", hidden)
			}
		}
	}
}
