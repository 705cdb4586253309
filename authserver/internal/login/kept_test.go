// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// keeper is a keeper of tokens that remembers them, or fails.
type keeper struct {
	of   []string // user and provider of each login
	last federation.Tokens
	err  error
}

func (k *keeper) Keep(_ context.Context, user string, idp *directory.Provider, t federation.Tokens) error {
	k.of, k.last = append(k.of, user+" "+idp.Name), t
	return k.err
}

func (k *keeper) Wanted(context.Context, string, *directory.Provider) (federation.Proof, bool, error) {
	return federation.Proof{}, false, k.err
}

func keeps(p *plane) { p.provider.Kept = &directory.Kept{Scopes: []string{"email", "offline_access"}} }

// Tokens are kept of a login that succeeded with a provider that is to keep them, and of no other.
func TestKept(t *testing.T) {
	down := fault.New(fault.Unavailable, store.ReasonUnavailable, "The store is down.")
	for _, tc := range []struct {
		name     string
		plane    func(p *plane)
		behavior loginfake.Behavior
		err      error
		status   int
		of       []string
		scope    string
	}{
		{"kept", keeps, loginfake.Behavior{}, nil, 303, []string{"alice-uid okta"}, "openid email profile offline_access"},
		{"no refresh token", keeps, loginfake.Behavior{NoRefresh: true}, nil, 303, []string{"alice-uid okta"}, "openid email profile offline_access"},
		{"not kept", func(*plane) {}, loginfake.Behavior{}, nil, 303, nil, "openid email profile"},
		{"keeping fails", keeps, loginfake.Behavior{}, down, 303, []string{"alice-uid okta"}, "openid email profile offline_access"},
		{"nobody's account", keeps, loginfake.Behavior{Claims: func(c map[string]any) { c["sub"] = "sub-2" }}, nil, 403, nil, "openid email profile offline_access"},
		{"wrong nonce", keeps, loginfake.Behavior{Claims: func(c map[string]any) { c["nonce"] = "another" }}, nil, 400, nil, "openid email profile offline_access"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := &keeper{err: tc.err}
			w := newWorld(t, func(c *login.Config) { c.Subjects = k })
			w.plane.change(tc.plane)
			w.idp.Set(tc.behavior)
			b := w.browser()
			if answer := b.federate("req1"); answer.StatusCode != tc.status {
				t.Errorf("%d %s", answer.StatusCode, answer.Body)
			}
			if got := w.idp.Seen.Get("scope"); got != tc.scope || w.idp.Seen.Has("prompt") {
				t.Errorf("asked for %q, prompt %q", got, w.idp.Seen.Get("prompt"))
			}
			if !slices.Equal(k.of, tc.of) {
				t.Errorf("kept of %q, want %q", k.of, tc.of)
			}
			if got := k.last; len(tc.of) > 0 && (got.Access == "" || got.ID == "" || (got.Refresh == "") != tc.behavior.NoRefresh ||
				got.Subject != "sub-1" || got.Nonce == "" || got.Expires.IsZero() || got.IDExpires.IsZero()) {
				t.Errorf("kept is %+v", got)
			}
			w.checkSecrecy(b)
			for _, secret := range w.idp.Secrets {
				if strings.Contains(w.log.String(), secret) {
					t.Errorf("the log has a token: %s", w.log.String())
				}
			}
		})
	}
}

// Who is sent to a provider that is gone, or while the store is down, gets a page.
func TestSend(t *testing.T) {
	for _, tc := range []struct {
		name, provider string
		err            error
		status         int
	}{
		{"sent", "okta", nil, 200},
		{"no such provider", "none", nil, 400},
		{"store down", "okta", fault.New(fault.Unavailable, store.ReasonUnavailable, "The store is down."), 503},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, func(c *login.Config) { c.Subjects = &keeper{err: tc.err} })
			w.plane.change(keeps)
			rec := httptest.NewRecorder()
			w.login.Send(rec, httptest.NewRequest(http.MethodPost, "/connect/x", http.NoBody), tc.provider, "req1", "alice-uid")
			if rec.Code != tc.status {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
}
