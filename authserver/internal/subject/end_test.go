// SPDX-License-Identifier: Apache-2.0

package subject_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// settle has the revocations done that wait.
func (w *world) settle() {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	stop()
	w.must(w.keeper.Run(ctx))
}

func (w *world) revoked() int {
	w.settle()
	w.idp.Lock()
	defer w.idp.Unlock()
	return w.idp.Revoked
}

// UP-11: the end of a user deletes what is kept of her, and of nobody else, and revokes it at the provider; what was given for
// servers is forgotten with it.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	w.login("u-ada2")
	w.wantGiven(jira(), false)
	for range 2 { // idempotent
		w.must(w.keeper.End(t.Context(), ada))
		_, err := w.token(access)
		w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
		_, _, err = w.give(w.keeper, jira(), false)
		w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
		if w.revoked() != 1 {
			t.Errorf("%d tokens are revoked", w.revoked())
		}
	}
	if _, err := w.keeper.Token(t.Context(), "u-ada2", w.p(), access); err != nil {
		t.Error(err)
	}
	if got := w.lastEvent(); got != "idp_tokens.ended ok  u-ada/okta" {
		t.Errorf("event: %s", got)
	}
	w.check()
}

// A provider that has no such endpoint, does not answer or refuses keeps nothing from ending here.
func TestEndWithoutRevocation(t *testing.T) {
	for name, tc := range map[string]struct {
		behavior loginfake.Behavior
		down     bool
		warned   bool
	}{
		"no endpoint":       {behavior: loginfake.Behavior{Metadata: func(m map[string]any) { delete(m, "revocation_endpoint") }}},
		"insecure endpoint": {behavior: loginfake.Behavior{Metadata: func(m map[string]any) { m["revocation_endpoint"] = "http://elsewhere.example/revoke" }}},
		"refused":           {behavior: loginfake.Behavior{Revoke: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }}, warned: true},
		"down":              {down: true, warned: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.Set(tc.behavior)
			w.login(ada)
			w.idp.Lock()
			w.idp.Down = tc.down
			w.idp.Unlock()
			w.must(w.keeper.End(t.Context(), ada))
			_, err := w.token(access)
			w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
			w.settle()
			if warned := strings.Contains(w.log.String(), "refresh token not revoked"); warned != tc.warned {
				t.Errorf("warned is %v: %s", warned, w.log.String())
			}
			w.check()
		})
	}
}

// A renewal that the end overtakes leaves nothing behind, neither here nor at the provider.
func TestEndDuringRenewal(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	w.pass(time.Hour)
	ended := make(chan error, 1)
	w.idp.Set(loginfake.Behavior{Tokens: func(map[string]any) { // under the provider's lock: the new tokens are there, but not answered
		n, err := w.store.DeleteSecrets(t.Context(), "subject:"+ada+":idp-1")
		if err == nil && n != 1 {
			err = fault.New(fault.Bug, "COUNT", "There was nothing to delete.")
		}
		ended <- err
	}})
	_, err := w.token(access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.must(<-ended)
	if w.revoked() != 1 {
		t.Errorf("%d tokens are revoked", w.revoked())
	}
	w.check()
}

// A token that comes when its person has ended is given to nobody, and not remembered.
func TestEndDuringGift(t *testing.T) {
	w := newWorld(t)
	behavior := loginfake.Behavior{Steady: true, Metadata: func(m map[string]any) { delete(m, "revocation_endpoint") }}
	w.idp.Set(behavior)
	w.login(ada)
	ended := make(chan error, 1)
	behavior.Tokens = func(map[string]any) { ended <- w.keeper.End(t.Context(), ada) }
	w.idp.Set(behavior)
	_, _, err := w.give(w.keeper, jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.must(<-ended)
	behavior.Tokens = nil
	w.idp.Set(behavior)
	w.login(ada)
	w.count(1)
	w.wantGiven(jira(), false)
	w.count(2)
	w.check()
}

// What nobody can use any more is found: of users who are gone or deactivated, of providers that are gone or keep nothing.
func TestStrays(t *testing.T) {
	w := newWorld(t)
	for _, user := range []string{ada, "u-eve", "u-gone"} {
		w.login(user)
	}
	strays := func() []string {
		t.Helper()
		list, err := w.keeper.Strays(t.Context(), w.view.Load())
		w.must(err)
		return list
	}
	if got := strays(); !slices.Equal(got, []string{"subject:u-eve:idp-1", "subject:u-gone:idp-1"}) {
		t.Errorf("strays: %q", got)
	}
	w.provider.Disabled = true
	w.publish()
	if got := strays(); len(got) != 2 {
		t.Errorf("a disabled provider's: %q", got)
	}
	w.provider.Disabled, w.provider.Kept = false, nil
	w.publish()
	all := strays()
	if len(all) != 3 {
		t.Errorf("a provider's that keeps nothing: %q", all)
	}
	w.must(w.keeper.Forget(t.Context(), all[0]))
	if w.revoked() != 1 {
		t.Error("not revoked at a provider that is still there")
	}
	w.view.Store(directory.NewView(directory.Content{}))
	for _, key := range append(strays(), "subject:u-none:idp-1") {
		w.must(w.keeper.Forget(t.Context(), key))
	}
	if got := strays(); len(got) != 0 || w.revoked() != 1 {
		t.Errorf("left: %q, %d revoked", got, w.revoked())
	}
	w.check()
}

// What another authserver has ended is dropped here, too: it is in memory only.
func TestDrop(t *testing.T) {
	w := newWorld(t)
	other, _, _ := w.another()
	w.login(ada)
	if _, _, err := w.give(other, jira(), false); err != nil {
		t.Fatal(err)
	}
	w.must(w.keeper.End(t.Context(), ada))
	if _, _, err := w.give(other, jira(), false); err != nil {
		t.Errorf("it is not in memory: %v", err)
	}
	other.Drop(ada)
	_, _, err := w.give(other, jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.check()
}
