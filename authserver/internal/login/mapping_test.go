// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestMapping is AZ-24: who an account is, and when the control plane is asked.
func TestMapping(t *testing.T) {
	stranger := func(c map[string]any) { c["sub"] = "sub-2" }
	groups := func(value any) func(map[string]any) { return func(c map[string]any) { c["groups"] = value } }
	mapsNothing := func(p *plane) { p.provider.MapsGroups = false }
	down := fault.New(fault.Unavailable, directory.ReasonUnreachable, "The control plane cannot be reached.")
	account := func(subject string, groups []string, known bool) []directory.Account {
		return []directory.Account{{
			Provider: "okta", Subject: subject, Email: "alice@example.com", EmailVerified: true, DisplayName: "Alice Example",
			Groups: groups, GroupsKnown: known,
		}}
	}
	for _, tc := range []struct {
		name   string
		claims func(map[string]any)
		plane  func(p *plane)
		user   string // "" nobody
		status int
		event  string
		asked  []directory.Account
		page   string
	}{
		{"known, no groups", nil, nil, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", nil, true), ""},
		{"known, groups are null", groups(nil), nil, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", nil, true), ""},
		{"known, no groups, control plane down", nil, func(p *plane) { p.answer = down }, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", nil, true), ""},
		{"known, groups that count for nothing", groups([]string{"eng"}), mapsNothing, "alice-uid", 303, "login.ok ok  alice-uid okta", nil, ""},
		{"known, no groups where they count for nothing", nil, mapsNothing, "alice-uid", 303, "login.ok ok  alice-uid okta", nil, ""},
		{"known, groups", groups([]string{"eng", "ops"}), nil, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", []string{"eng", "ops"}, true), ""},
		{"known, left all groups", groups([]string{}), nil, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", []string{}, true), ""},
		{"known, one group as text", groups("eng"), nil, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", []string{"eng"}, true), ""},
		{"known, groups that are none", groups([]any{"eng", 7}), nil, "alice-uid", 303, "login.ok ok  alice-uid okta", nil, ""},
		{"known, groups elsewhere (Entra)", func(c map[string]any) {
			c["_claim_names"] = map[string]string{"groups": "src1"}
			c["_claim_sources"] = map[string]any{"src1": map[string]string{"endpoint": "https://graph.example/x"}}
		}, nil, "alice-uid", 303, "login.ok ok  alice-uid okta", nil, ""},
		{"known, hasgroups (Entra)", func(c map[string]any) { c["hasgroups"], c["groups"] = true, []string{"eng"} }, nil, "alice-uid", 303, "login.ok ok  alice-uid okta", nil, ""},
		{"known, control plane down", groups([]string{"eng"}), func(p *plane) { p.answer = down }, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", []string{"eng"}, true), ""},
		{"known, control plane broken", groups([]string{"eng"}), func(p *plane) { p.answer = http.ErrAbortHandler }, "alice-uid", 303, "login.ok ok  alice-uid okta", account("sub-1", []string{"eng"}, true), ""},
		{"known, but shut out meanwhile", groups([]string{"eng"}), func(p *plane) {
			p.answer = fault.New(fault.Denied, directory.ReasonDeactivated, "The user is deactivated.")
		}, "", 403, "login.failed refused user_deactivated  okta", account("sub-1", []string{"eng"}, true), "You may not log in here"},
		{"new, made", stranger, func(p *plane) { p.makes = true }, "new-uid", 303, "login.ok ok  new-uid okta", account("sub-2", nil, true), ""},
		{"new, groups elsewhere", func(c map[string]any) { c["sub"], c["hasgroups"] = "sub-2", "true" }, nil, "", 403, "login.failed refused login_not_allowed  okta", account("sub-2", nil, false), "Ask the administrator of Penstock"},
		{"new, not allowed", stranger, nil, "", 403, "login.failed refused login_not_allowed  okta", account("sub-2", nil, true), "Ask the administrator of Penstock"},
		{"new, control plane down", stranger, func(p *plane) { p.answer = down }, "", 503, "login.failed refused control_plane_unavailable  okta", account("sub-2", nil, true), "Try again soon"},
		{"new, control plane broken", stranger, func(p *plane) { p.answer = http.ErrAbortHandler }, "", 500, "login.failed refused internal  okta", account("sub-2", nil, true), ""},
		{"subject of another issuer", nil, func(p *plane) { p.users[0].Identities[0].Issuer = "https://other.example" }, "", 403, "login.failed refused login_not_allowed  okta", account("sub-1", nil, true), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			if tc.plane != nil {
				w.plane.change(tc.plane)
			}
			w.idp.Set(loginfake.Behavior{Claims: tc.claims})
			b := w.browser()
			answer := b.federate("req1")
			if text := answer.Body; answer.StatusCode != tc.status || !strings.Contains(text, tc.page) {
				t.Errorf("%d %s", answer.StatusCode, text)
			}
			if got := b.current(); got != tc.user {
				t.Errorf("%q is logged in, want %q", got, tc.user)
			}
			if diff := cmp.Diff([]string{tc.event}, w.events()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.asked, w.plane.accounts()); diff != "" {
				t.Error(diff)
			}
			w.checkSecrecy(b)
		})
	}
}

// TestNewUserWhoDoesNotArrive: nobody is logged in whom the directory does not know.
func TestNewUserWhoDoesNotArrive(t *testing.T) {
	w := newWorld(t, func(c *login.Config) { c.Settle = 200 * time.Millisecond })
	w.plane.change(func(p *plane) { p.makes, p.behind = true, true })
	w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) { c["sub"] = "sub-2" }})
	b := w.browser()
	answer := b.federate("req1")
	if answer.StatusCode != 503 || answer.Header.Get("Retry-After") != "1" || w.lastEvent() != "login.failed refused user_not_there_yet  okta" || b.current() != "" {
		t.Errorf("%d %v %s", answer.StatusCode, answer.Header, w.lastEvent())
	}
	w.plane.publish()
	if answer := b.federate("req1"); answer.StatusCode != 303 || b.current() != "new-uid" {
		t.Errorf("a moment later: %d, %q", answer.StatusCode, b.current())
	}
}

func TestUserInfo(t *testing.T) {
	noEmail := func(c map[string]any) {
		c["sub"] = "sub-2"
		delete(c, "email")
		delete(c, "email_verified")
		delete(c, "name")
	}
	for _, tc := range []struct {
		name   string
		claims func(map[string]any)
		info   map[string]any
		email  string
		ok     bool
		user   string
	}{
		{"fills in the address", noEmail, map[string]any{"sub": "sub-2", "email": "dora@example.com", "email_verified": "true", "name": "Dora"}, "dora@example.com", true, "new-uid"},
		{"is not asked if there is one", func(c map[string]any) { c["sub"], c["groups"] = "sub-2", []string{} }, map[string]any{"sub": "sub-9", "email": "dora@example.com"}, "alice@example.com", true, "new-uid"},
		{"of somebody else", noEmail, map[string]any{"sub": "sub-9", "email": "dora@example.com"}, "", false, ""},
		{"has no address either", noEmail, map[string]any{"sub": "sub-2"}, "", false, "new-uid"},
		{"has something else as address", noEmail, map[string]any{"sub": "sub-2", "email": "dora", "email_verified": true}, "", false, "new-uid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plane.change(func(p *plane) { p.makes = true })
			w.idp.Set(loginfake.Behavior{Claims: tc.claims, UserInfo: tc.info})
			b := w.browser()
			b.federate("req1")
			if got := b.current(); got != tc.user {
				t.Fatalf("%q is logged in: %s", got, w.lastEvent())
			}
			if tc.user == "" {
				if w.lastEvent() != "login.failed refused userinfo_mismatch  okta" {
					t.Error(w.lastEvent())
				}
				return
			}
			if a := w.plane.accounts()[0]; a.Email != tc.email || a.EmailVerified != tc.ok {
				t.Errorf("account is %+v", a)
			}
		})
	}
}

// TestGroupsOfUserInfo: an ID token that says nothing of groups is not all that a provider has to say, where they count.
func TestGroupsOfUserInfo(t *testing.T) {
	asked := map[string]any{"sub": "sub-1", "email": "other@example.com", "groups": []string{"eng"}}
	for _, tc := range []struct {
		name   string
		claims map[string]any // of the ID token
		info   map[string]any
		maps   bool
		groups []string
		known  bool
	}{
		{"only there", nil, asked, true, []string{"eng"}, true},
		{"nowhere", nil, map[string]any{"sub": "sub-1"}, true, nil, true},
		{"in both", map[string]any{"groups": []string{"ops"}}, asked, true, []string{"ops"}, true},
		{"elsewhere, by the ID token", map[string]any{"hasgroups": true}, asked, true, nil, false},
		{"elsewhere, by UserInfo", nil, map[string]any{"sub": "sub-1", "_claim_names": map[string]string{"groups": "s"}}, true, nil, false},
		{"an answer that is none", nil, map[string]any{"sub": "sub-1", "email": 7}, true, nil, false},
		{"they count for nothing", nil, asked, false, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plane.change(func(p *plane) { p.provider.MapsGroups = tc.maps })
			w.idp.Set(loginfake.Behavior{UserInfo: tc.info, Claims: func(c map[string]any) { maps.Copy(c, tc.claims) }})
			b := w.browser()
			b.federate("req1")
			if got := b.current(); got != "alice-uid" {
				t.Fatalf("%q is logged in: %s", got, w.lastEvent())
			}
			var want []directory.Account
			if tc.maps && tc.known {
				want = []directory.Account{{
					Provider: "okta", Subject: "sub-1", Email: "alice@example.com", EmailVerified: true, DisplayName: "Alice Example",
					Groups: tc.groups, GroupsKnown: true,
				}}
			}
			if diff := cmp.Diff(want, w.plane.accounts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
