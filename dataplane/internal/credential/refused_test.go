// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// UP-5, UP-8: what a server refused is renewed once for all calls that were refused, and what was renewed meanwhile is taken.
func TestRefused(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		old, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
		if err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		b.server.set(func(a *authserver) { a.value, a.hold = "new", hold })
		var calls sync.WaitGroup
		got := make([]*credential.Credential, 20)
		for i := range got {
			calls.Go(func() {
				c, err := b.Refused(t.Context(), wanted("c1", "v_1", user("ada")), old.Serial)
				if err != nil {
					t.Error(err)
				}
				got[i] = c
			})
		}
		synctest.Wait()
		close(hold)
		calls.Wait()
		b.server.set(func(a *authserver) { a.hold = nil })
		late, err := b.Refused(t.Context(), wanted("c1", "v_1", user("ada")), old.Serial) // was still under way with the old one
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append(got, late) {
			if c == nil || c.Headers["Authorization"].Reveal() != "new" || c.Serial == old.Serial || c.Key != old.Key {
				t.Errorf("got %v", c)
			}
		}
		b.want(t, "c1", "v_1", user("ada"), "new")
		if _, err := b.Refused(t.Context(), wanted("c1", "v_1", user("ada")), late.Serial); err != nil { // this one, too
			t.Fatal(err)
		}
		want := []string{"c1 v_1 user ada", "c1 v_1 user ada refused", "c1 v_1 user ada refused"}
		if diff := cmp.Diff(want, b.server.asked); diff != "" {
			t.Errorf("questions differ (-want +got):\n%s", diff)
		}
	})
}

// A grant that is dead is used no more; while the authserver is away, what is at hand stays.
func TestRefusedFailures(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		old, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
		if err != nil {
			t.Fatal(err)
		}
		b.server.set(func(a *authserver) { a.fail = connect.NewError(connect.CodeUnavailable, errors.New("away")) })
		_, err = b.Refused(t.Context(), wanted("c1", "v_1", user("ada")), old.Serial)
		b.wantFault(t, err, fault.Unavailable, credential.ReasonUnavailable)
		b.want(t, "c1", "v_1", user("ada"), canary)
		b.server.set(func(a *authserver) { a.fail = refusal(connect.CodeFailedPrecondition, "CREDENTIAL_DEAD") })
		_, err = b.Refused(t.Context(), wanted("c1", "v_1", user("ada")), old.Serial)
		b.wantFault(t, err, fault.Precondition, "CREDENTIAL_DEAD")
		_, err = b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
		b.wantFault(t, err, fault.Precondition, "CREDENTIAL_DEAD")
	})
}

// Links: one for calls that come at the same time, another one later, and the faults.
func TestLink(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.server.set(func(a *authserver) { a.hold = hold })
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() {
				if url, err := b.Link(t.Context(), credential.LinkRequest{User: "ada", Server: "gh", Client: "cursor", Gateway: "eng"}); err != nil || url != "https://auth.example.com/connect/1" {
					t.Errorf("got %s, %v", url, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		calls.Wait()
		b.server.set(func(a *authserver) { a.hold = nil })
		if url, err := b.Link(t.Context(), credential.LinkRequest{User: "ada", Server: "gh", Client: "", Gateway: "eng"}); err != nil || url != "https://auth.example.com/connect/2" {
			t.Errorf("got %s, %v", url, err)
		}
		if diff := cmp.Diff([]string{"link ada gh cursor eng", "link ada gh  eng"}, b.server.asked); diff != "" {
			t.Errorf("questions differ (-want +got):\n%s", diff)
		}
		for _, tc := range []struct {
			set    func(*authserver)
			kind   fault.Kind
			reason string
		}{
			{func(a *authserver) { a.fail = refusal(connect.CodeResourceExhausted, "TOO_MANY_CONNECT_LINKS") }, fault.Exhausted, "TOO_MANY_CONNECT_LINKS"},
			{func(a *authserver) { a.fail = refusal(connect.CodeFailedPrecondition, "NOTHING_TO_CONNECT") }, fault.Precondition, "NOTHING_TO_CONNECT"},
			{func(a *authserver) { a.fail = refusal(connect.CodePermissionDenied, "X") }, fault.Unavailable, credential.ReasonRefused},
			{func(a *authserver) { a.fail = connect.NewError(connect.CodeUnimplemented, errors.New("old")) }, fault.Unavailable, credential.ReasonUnavailable},
			{func(a *authserver) { a.fail, a.bare = nil, true }, fault.Unavailable, credential.ReasonUnavailable},
		} {
			b.server.set(tc.set)
			_, err := b.Link(t.Context(), credential.LinkRequest{User: "ada", Server: "gh", Client: "", Gateway: "eng"})
			b.wantFault(t, err, tc.kind, tc.reason)
		}
	})
}
