// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// presenting is wanted by ada, who presented a token.
func presenting(version, token string) credential.Wanted {
	w := wanted("c1", version, user("ada"))
	w.Subject = credential.Subject{Token: obs.Secret("subject-" + token), Provider: "okta"}
	return w
}

// JW-13, UP-9: what a caller presented goes along with the questions of its own calls and is kept nowhere; what came of it is the
// person's, by whatever way they come, until the authserver's time or another version.
func TestSubject(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		resolve := func(w credential.Wanted) *credential.Credential {
			t.Helper()
			c, err := b.Resolve(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := resolve(presenting("m_1", "a"))
		resolve(presenting("m_1", "b"))
		resolve(wanted("c1", "m_1", user("ada")))
		time.Sleep(14 * time.Minute) // to be renewed: by whom it is used then
		resolve(presenting("m_1", "c"))
		synctest.Wait()
		if _, err := b.Refused(t.Context(), presenting("m_1", "d"), resolve(presenting("m_1", "d")).Serial); err != nil {
			t.Fatal(err)
		}
		resolve(presenting("m_2", "e"))
		b.server.set(func(a *authserver) { a.life = time.Minute })
		resolve(wanted("c1", "m_3", user("ada")))
		time.Sleep(time.Minute)
		resolve(presenting("m_3", "f"))
		want := []string{"okta subject-a", "okta subject-c", "okta subject-d", "okta subject-e", "", "okta subject-f"}
		if diff := cmp.Diff(want, b.server.subjects); diff != "" {
			t.Errorf("subjects (-want +got):\n%s", diff)
		}
		if printed := fmt.Sprintf("%v %+v %#v", presenting("m", "z"), presenting("m", "z").Subject, first); strings.Contains(printed, "subject-z") {
			t.Errorf("printing shows the subject: %s", printed)
		}
	})
}

// Who presented a token does not wait for the answer to somebody who did not: that may be that there is nothing.
func TestSubjectFliesAlone(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.server.set(func(a *authserver) { a.hold = hold })
		var calls sync.WaitGroup
		for _, w := range []credential.Wanted{wanted("c1", "m_1", user("ada")), presenting("m_1", "a"), presenting("m_1", "b"), wanted("c1", "m_1", user("ada"))} {
			calls.Go(func() {
				if _, err := b.Resolve(t.Context(), w); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(hold)
		calls.Wait()
		if diff := cmp.Diff([]string{"", "okta subject-a"}, b.server.subjects); diff != "" {
			t.Errorf("questions (-want +got):\n%s", diff)
		}
	})
}

// A node that hears of another way to make a credential before the authserver does asks again for a moment, and then says so.
func TestAuthserverBehind(t *testing.T) {
	for _, tt := range []struct {
		behind, asked int
		takes         time.Duration
		reason        string
	}{
		{0, 1, 0, ""},
		{1, 2, 200 * time.Millisecond, ""},
		{4, 5, 800 * time.Millisecond, ""},
		{5, 5, 800 * time.Millisecond, credential.ReasonBehind},
	} {
		bubble(t, 0, func(t *testing.T, b *bench) {
			b.server.set(func(a *authserver) { a.behind = tt.behind })
			start := time.Now()
			_, err := b.Resolve(t.Context(), wanted("c1", "m_2", user("ada")))
			if tt.reason != "" {
				b.wantFault(t, err, fault.Unavailable, tt.reason)
			} else if err != nil {
				t.Errorf("%d: %v", tt.behind, err)
			}
			if took := time.Since(start); b.server.questions() != tt.asked || took != tt.takes {
				t.Errorf("%d: %d questions in %s", tt.behind, b.server.questions(), took)
			}
		})
	}
}
