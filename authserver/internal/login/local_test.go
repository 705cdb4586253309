// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"context"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/login"
	"github.com/penstockhq/penstock/authserver/internal/login/password"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// setPassword gives somebody a password.
func (w *world) setPassword(uid, text string) {
	w.t.Helper()
	if err := w.login.SetPassword(w.t.Context(), uid, text); err != nil {
		w.t.Fatal(err)
	}
}

// try logs in with a password through a new form.
func (b *browser) try(email, text string) answer {
	b.w.t.Helper()
	f := b.form("req1")
	f.Set("email", email)
	f.Set("password", text)
	return b.post("/login/password", f)
}

func TestPasswordLogin(t *testing.T) {
	for _, tc := range []struct {
		name, email, text string
		user              string
		event             string
	}{
		{"right", "bob@example.com", goodPassword, "bob-uid", "login.ok ok  bob-uid "},
		{"address in other case, with spaces", " Bob@Example.com ", goodPassword, "bob-uid", "login.ok ok  bob-uid "},
		{"wrong", "bob@example.com", goodPassword + "x", "", "login.failed refused password_wrong bob-uid "},
		{"empty", "bob@example.com", "", "", "login.failed refused password_wrong bob-uid "},
		{"endless", "bob@example.com", strings.Repeat("x", 10000), "", "login.failed refused password_wrong bob-uid "},
		{"somebody without a password", "alice@example.com", goodPassword, "", "login.failed refused password_wrong alice-uid "},
		{"nobody", "nobody@example.com", goodPassword, "", "login.failed refused password_wrong  "},
		{"no address", "", goodPassword, "", "login.failed refused password_wrong  "},
		{"deactivated", "carol@example.com", goodPassword, "", "login.failed refused password_wrong  "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.setPassword("bob-uid", goodPassword)
			w.plane.change(func(p *plane) { p.users[2].Deactivated = false })
			w.setPassword("carol-uid", goodPassword)
			w.plane.change(func(p *plane) { p.users[2].Deactivated = true })
			b := w.browser()
			answer := b.try(tc.email, tc.text)
			if tc.user != "" {
				if answer.StatusCode != 303 || answer.Header.Get("Location") != "/api/auth/oauth2/consent?request=req1" {
					t.Errorf("%d %s", answer.StatusCode, answer.Header.Get("Location"))
				}
				if l := b.login(); l == nil || l.Provider != "" || !cmp.Equal(l.AMR, []string{"pwd"}) {
					t.Errorf("login is %+v", l)
				}
			} else if text := answer.Body; answer.StatusCode != 400 || !strings.Contains(text, "The e-mail address or the password is wrong.") {
				t.Errorf("%d %s", answer.StatusCode, text)
			}
			if got := b.current(); got != tc.user {
				t.Errorf("%q is logged in, want %q", got, tc.user)
			}
			if got := w.lastEvent(); got != tc.event {
				t.Errorf("event is %q", got)
			}
			w.checkSecrecy(b)
		})
	}
}

// TestAnswersTellNothing is RL-5: the page of a wrong password is that of nobody, byte for byte.
func TestAnswersTellNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	var bodies []string
	for _, email := range []string{"bob@example.com", "bab@example.com", "alice@example.com", "carol@example.com"} {
		answer := b.try(email, "wrong password")
		body := strings.ReplaceAll(answer.Body, email, "<email>")
		body = regexp.MustCompile(`[0-9a-f]{12}`).ReplaceAllString(body, "<request>")
		bodies = append(bodies, body)
	}
	for _, one := range bodies[1:] {
		if diff := cmp.Diff(bodies[0], one); diff != "" {
			t.Error(diff)
		}
	}
}

// TestNoPasswords: the form is there only where local users are.
func TestNoPasswords(t *testing.T) {
	w := newWorld(t, func(c *login.Config) { c.LocalUsers = false })
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	f := b.form("req1")
	if text := b.get("/login?request=req1").Body; strings.Contains(text, "/login/password") || !strings.Contains(text, "Okta") {
		t.Errorf("page: %s", text)
	}
	f.Set("email", "bob@example.com")
	f.Set("password", goodPassword)
	if answer := b.post("/login/password", f); answer.StatusCode != 404 || b.current() != "" {
		t.Errorf("%d", answer.StatusCode)
	}
}

// TestProgressiveDelay is RL-3: per user and address, and never for good.
func TestProgressiveDelay(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	for i := range 3 {
		if answer := b.try("bob@example.com", "wrong password"); answer.StatusCode != 400 {
			t.Fatalf("attempt %d: %d", i+1, answer.StatusCode)
		}
	}
	answer := b.try("BOB@example.com", goodPassword) // even the right one has to wait
	if answer.StatusCode != 429 || answer.Header.Get("Retry-After") != "1" || b.current() != "" {
		t.Errorf("fourth at once: %d %q", answer.StatusCode, answer.Header.Get("Retry-After"))
	}
	if got := w.lastEvent(); got != "login.failed refused too_many_attempts  " {
		t.Error(got)
	}
	if answer := b.try("nobody@example.com", "x"); answer.StatusCode != 400 {
		t.Errorf("another name: %d", answer.StatusCode)
	}
	elsewhere := w.browser()
	elsewhere.peer = "192.0.2.2:1"
	if elsewhere.try("bob@example.com", goodPassword); elsewhere.current() != "bob-uid" {
		t.Error("bob cannot log in from elsewhere")
	}
	w.pass(time.Second)
	if b.try("bob@example.com", goodPassword); b.current() != "bob-uid" {
		t.Error("bob cannot log in after the wait")
	}
	for i := range 3 {
		if answer := b.try("bob@example.com", "wrong password"); answer.StatusCode != 400 {
			t.Errorf("attempt %d after success: %d", i+1, answer.StatusCode)
		}
	}
}

// TestFormsOfOthers is AZ-15: a form counts only from the browser that was shown it, and for its request.
func TestFormsOfOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	stranger := w.browser().form("req1")
	for _, tc := range []struct {
		name   string
		change func(b *browser, f url.Values)
	}{
		{"no token", func(_ *browser, f url.Values) { f.Del("csrf") }},
		{"token of another browser", func(_ *browser, f url.Values) { f.Set("csrf", stranger.Get("csrf")) }},
		{"token of another request", func(_ *browser, f url.Values) { f.Set("request", "fresh") }},
		{"no cookie", func(b *browser, _ url.Values) { clear(b.cookies) }},
		{"cookie of somebody's making", func(b *browser, f url.Values) {
			b.cookies["__Host-penstock-browser"] = ""
		}},
	} {
		for _, target := range []string{"/login/password", "/login/provider/okta"} {
			t.Run(tc.name+" "+target, func(t *testing.T) {
				b := w.browser()
				f := b.form("req1")
				f.Set("email", "bob@example.com")
				f.Set("password", goodPassword)
				tc.change(b, f)
				answer := b.post(target, f)
				if answer.StatusCode != 403 || b.current() != "" || len(b.set) != 0 {
					t.Errorf("%d %v", answer.StatusCode, b.set)
				}
				if got := w.lastEvent(); got != "login.failed refused form_foreign  " {
					t.Error(got)
				}
			})
		}
	}
}

func TestSetPassword(t *testing.T) {
	for _, tc := range []struct {
		name, uid, text string
		reason, problem string
	}{
		{"good", "bob-uid", "twelve chars", "", ""},
		{"short", "bob-uid", "eleven char", "PASSWORD_INVALID", "is shorter than 12 characters"},
		{"the address", "bob-uid", "Bob@example.com", "PASSWORD_INVALID", "is the e-mail address"},
		{"nobody", "no-uid", goodPassword, "USER_MISSING", ""},
		{"deactivated", "carol-uid", goodPassword, "USER_MISSING", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, func(c *login.Config) { c.Settle = 50 * time.Millisecond })
			err := w.login.SetPassword(t.Context(), tc.uid, tc.text)
			p, missing := w.store.Password(t.Context(), tc.uid)
			if tc.reason == "" {
				if err != nil || !strings.HasPrefix(p.Encoded, "$argon2id$v=19$m=64,t=1,p=1$") {
					t.Errorf("%v, %+v", err, p)
				}
				if got := w.lastEvent(); got != "password.set ok   bob-uid" {
					t.Error(got)
				}
				return
			}
			f := fault.From(err)
			if f == nil || f.Reason != tc.reason || missing == nil {
				t.Fatalf("%v", err)
			}
			if tc.problem != "" && f.Fields[0].Problem != tc.problem {
				t.Errorf("problem is %q", f.Fields[0].Problem)
			}
		})
	}
}

// TestSetPasswordOfANewUser: the administrator made the user a moment before.
func TestSetPasswordOfANewUser(t *testing.T) {
	w := newWorld(t, nil)
	w.plane.mu.Lock()
	w.plane.users = append(w.plane.users, user("dora-uid", "dora@example.com"))
	w.plane.mu.Unlock()
	timer := time.AfterFunc(50*time.Millisecond, w.plane.publish)
	defer timer.Stop()
	w.setPassword("dora-uid", goodPassword)
}

// TestPasswordChange: a new or removed password ends the logins of the old one, and the old one is worth nothing.
func TestPasswordChange(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", goodPassword)
	w.setPassword("alice-uid", goodPassword)
	bob, alice := w.browser(), w.browser()
	bob.try("bob@example.com", goodPassword)
	alice.try("alice@example.com", goodPassword)
	w.setPassword("bob-uid", "another good password")
	if bob.current() != "" || alice.current() != "alice-uid" {
		t.Errorf("logged in are %q and %q", bob.current(), alice.current())
	}
	if bob.try("bob@example.com", goodPassword); bob.current() != "" {
		t.Error("the old password is good")
	}
	if bob.try("bob@example.com", "another good password"); bob.current() != "bob-uid" {
		t.Error("the new password is not good")
	}
	for range 2 { // removing is idempotent
		w.setPassword("bob-uid", "")
	}
	if bob.current() != "" {
		t.Error("bob is still logged in")
	}
	if bob.try("bob@example.com", "another good password"); bob.current() != "" {
		t.Error("the removed password is good")
	}
	if got := w.events(); !strings.Contains(strings.Join(got, "\n"), "password.removed ok   bob-uid") {
		t.Errorf("events are %q", got)
	}
}

// overtaken changes the password after it was read, once.
type overtaken struct {
	store.OAuth
	change func()
}

func (o *overtaken) Password(ctx context.Context, uid string) (store.Password, error) {
	p, err := o.OAuth.Password(ctx, uid)
	if change := o.change; change != nil {
		o.change = nil
		change()
	}
	return p, err
}

// TestPasswordChangedMeanwhile: a login with the old password does not outlive the change.
func TestPasswordChangedMeanwhile(t *testing.T) {
	for name, text := range map[string]string{"changed": "another good password", "removed": ""} {
		t.Run(name, func(t *testing.T) {
			var o *overtaken
			w := newWorld(t, func(c *login.Config) {
				o = &overtaken{OAuth: c.Store}
				c.Store = o
			})
			w.setPassword("bob-uid", goodPassword)
			o.change = func() { w.setPassword("bob-uid", text) }
			b := w.browser()
			answer := b.try("bob@example.com", goodPassword)
			if o.change != nil || answer.StatusCode != 400 || b.current() != "" || w.lastEvent() != "login.failed refused password_wrong bob-uid " {
				t.Errorf("%d %s, %q is logged in", answer.StatusCode, w.lastEvent(), b.current())
			}
		})
	}
}

// TestKeyboards: one password from two keyboards.
func TestKeyboards(t *testing.T) {
	w := newWorld(t, nil)
	w.setPassword("bob-uid", "caf\u00e9 caf\u00e9 caf\u00e9")
	b := w.browser()
	if b.try("bob@example.com", "cafe\u0301 cafe\u0301 cafe\u0301"); b.current() != "bob-uid" {
		t.Error("the decomposed form is another password")
	}
}

// TestWorkIsConstant is RL-5 for time: nobody costs the hash that somebody costs. It shows in memory, of which a hash takes
// 16 MiB here: time would depend on what else the machine does.
func TestWorkIsConstant(t *testing.T) {
	const memory = 16 << 20
	w := newWorld(t, func(c *login.Config) { c.Hash = password.Params{Memory: memory >> 10, Passes: 1, Threads: 1} })
	w.setPassword("bob-uid", goodPassword)
	b := w.browser()
	for name, email := range map[string]string{
		"somebody": "bob@example.com", "nobody": "nobody@example.com", "without a password": "alice@example.com", "deactivated": "carol@example.com",
	} {
		f := b.form("")
		f.Set("email", email)
		f.Set("password", "wrong password")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.post("/login/password", f)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used < memory || used > 2*memory {
			t.Errorf("%s costs %d bytes", name, used)
		}
	}
}
