// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// end ends the connection and checks that nothing is left that could be given out.
func (w *world) end(version string) {
	w.t.Helper()
	_, err := w.up.End(w.t.Context(), connection)
	w.must(err)
	_, _, err = w.resolve(w.up, version, false)
	wantFault(w.t, err, fault.Precondition, vault.ReasonMissing)
}

// revoke lets an authserver revoke until there are so many audit events of it.
func (w *world) revoke(events int) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.up.Revoke(ctx) }()
	wait := time.NewTicker(5 * time.Millisecond)
	defer wait.Stop()
	for end := time.After(10 * time.Second); len(w.revocations()) < events; {
		select {
		case <-wait.C:
		case <-end:
			w.t.Fatalf("events: %q, want %d revocations", w.events(), events)
		}
	}
	cancel()
	w.must(<-done)
}

func (w *world) revocations() []string {
	w.t.Helper()
	return slices.DeleteFunc(w.events(), func(e string) bool { return !strings.HasPrefix(e, "upstream.credential.revoked") })
}

func (w *world) due() int {
	w.t.Helper()
	list, err := w.vault.Due(w.t.Context(), "ended:", 100)
	w.must(err)
	return len(list)
}

func (w *world) revoked() []string {
	w.fake.Lock()
	defer w.fake.Unlock()
	return slices.Clone(w.fake.Revoked)
}

// UP-11: a grant that is ended is of no use here at once, and is revoked where it was given, the refresh token first.
func TestEndRevokes(t *testing.T) {
	for name, set := range map[string]func(w *world){
		"a client that registered itself": func(*world) {},
		"a client that an administrator registered": func(w *world) {
			w.fake.ClientID, w.fake.Secret = "by-hand", "canary-secret-of-the-administrator"
			w.fake.Secrets = append(w.fake.Secrets, w.fake.Secret)
			version, err := w.vault.Put(w.t.Context(), "s1", vault.Secret{ClientSecret: obsSecret(w.fake.Secret)})
			w.must(err)
			w.server.OAuth = &directory.OAuth{ClientID: "by-hand", SecretVersion: version}
			w.publish()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			set(w)
			version := w.grant()
			header := w.want(version, false)
			w.end(version)
			if !w.fake.Valid(header) {
				t.Fatal("the end of the credential asked the authorization server")
			}
			w.revoke(1)
			if w.fake.Valid(header) {
				t.Error("the access token is still good")
			}
			if got := w.revoked(); !slices.Equal(got, []string{"refresh_token", "access_token"}) {
				t.Errorf("revoked %q", got)
			}
			if got := w.revocations(); !slices.Equal(got, []string{"upstream.credential.revoked ok  github"}) || w.due() != 0 {
				t.Errorf("events %q, %d left", got, w.due())
			}
			w.end(version) // nothing is there any more
			w.fake.Check(t)
			w.checkSecrecy()
		})
	}
}

// What is not to be revoked is forgotten, and nobody is asked.
func TestEndWithoutGrants(t *testing.T) {
	w := newWorld(t)
	version, err := w.vault.Put(t.Context(), connection, vault.Secret{Headers: map[string]obsSecret{"Authorization": "Bearer canary-static"}})
	w.must(err)
	w.end(version)
	dead := w.grant()
	w.fake.End()
	w.pass(time.Hour)
	_, _, err = w.resolve(w.up, dead, false)
	wantFault(t, err, fault.Precondition, "CREDENTIAL_DEAD")
	w.end(dead)
	if n := w.due(); n != 0 {
		t.Errorf("%d grants are to be revoked", n)
	}
	if n, err := w.up.End(t.Context(), "c-unknown"); n != 0 || err != nil {
		t.Errorf("a connection that is not there: %d, %v", n, err)
	}
}

// Every way in which a revocation ends that does not succeed.
func TestRevocationRefused(t *testing.T) {
	answer := func(status int, body string) upstreamfake.Behavior {
		return upstreamfake.Behavior{Revoke: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}}
	}
	without := func(name string) upstreamfake.Behavior {
		return upstreamfake.Behavior{Metadata: func(m map[string]any) { delete(m, name) }}
	}
	for _, tt := range []struct {
		name  string
		set   func(w *world)
		again bool   // it is tried again for a day
		want  string // reason
	}{
		{"no revocation endpoint", func(w *world) { w.fake.Set(without("revocation_endpoint")) }, false, "UPSTREAM_NO_REVOCATION"},
		{"an endpoint in the clear", func(w *world) {
			w.fake.Set(upstreamfake.Behavior{Metadata: func(m map[string]any) { m["revocation_endpoint"] = "http://192.0.2.1/revoke" }})
		}, false, "EGRESS_REFUSED"},
		{"another issuer", func(w *world) {
			w.fake.Set(upstreamfake.Behavior{Metadata: func(m map[string]any) { m["issuer"] = "https://evil.example" }})
		}, false, "UPSTREAM_ISSUER_MISMATCH"},
		{"the client is unknown", func(w *world) { w.fake.Forget() }, false, "UPSTREAM_CLIENT_REFUSED"},
		{"401 without a code", func(w *world) { w.fake.Set(answer(401, "")) }, false, "UPSTREAM_CLIENT_REFUSED"},
		{"the client may not", func(w *world) { w.fake.Set(answer(400, `{"error":"unauthorized_client"}`)) }, false, "UPSTREAM_CLIENT_REFUSED"},
		{"a kind that cannot be revoked", func(w *world) { w.fake.Set(answer(400, `{"error":"unsupported_token_type"}`)) }, false, "UPSTREAM_RESPONSE_INVALID"},
		{"no page", func(w *world) { w.fake.Set(answer(404, "<html>")) }, false, "UPSTREAM_RESPONSE_INVALID"},
		{"a redirect", func(w *world) { w.fake.Set(answer(307, "")) }, false, "UPSTREAM_RESPONSE_INVALID"},
		{"in trouble", func(w *world) { w.fake.Set(answer(503, "")) }, true, "UPSTREAM_UNREACHABLE"},
		{"too many requests", func(w *world) { w.fake.Set(answer(429, "")) }, true, "UPSTREAM_UNREACHABLE"},
		{"says that it is busy", func(w *world) { w.fake.Set(answer(400, `{"error":"temporarily_unavailable"}`)) }, true, "UPSTREAM_UNREACHABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			version := w.grant()
			tt.set(w)
			w.end(version)
			if tt.again {
				w.pass(25 * time.Hour) // longer than anything is tried
			}
			w.revoke(1)
			if got := w.revocations(); !slices.Equal(got, []string{"upstream.credential.revoked refused " + tt.want + " github"}) || w.due() != 0 {
				t.Errorf("events %q, %d left", got, w.due())
			}
			w.checkSecrecy()
		})
	}
}

// A server that is away is asked again, by whichever authserver, and not before its time.
func TestRevokedLater(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	header := w.want(version, false)
	asked := make(chan struct{}, 10)
	w.fake.Set(upstreamfake.Behavior{Revoke: func(rw http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		rw.WriteHeader(http.StatusServiceUnavailable)
	}})
	w.end(version)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.up.Revoke(ctx) }()
	<-asked
	cancel()
	w.must(<-done)
	if n := w.due(); n != 0 || len(w.revocations()) != 0 {
		t.Errorf("%d are due at once, events %q", n, w.revocations())
	}
	w.pass(31 * time.Second)
	if n := w.due(); n != 1 {
		t.Fatalf("%d are due later, want 1", n)
	}
	w.fake.Set(upstreamfake.Behavior{})
	w.revoke(1)
	if w.fake.Valid(header) || w.due() != 0 {
		t.Errorf("good: %t, %d left", w.fake.Valid(header), w.due())
	}
}

// A server whose authorization server was set by hand, without an issuer, has no place to revoke at.
func TestRevokeByHand(t *testing.T) {
	w := newWorld(t)
	w.fake.ClientID = "by-hand"
	base := strings.TrimSuffix(w.fake.Issuer, "/tenant")
	w.server.OAuth = &directory.OAuth{ClientID: "by-hand", AuthorizationEndpoint: base + "/authorize", TokenEndpoint: base + "/token"}
	w.publish()
	w.fake.Set(upstreamfake.Behavior{Response: func(v url.Values) { v.Del("iss") }})
	w.end(w.grant())
	w.revoke(1)
	if got := w.revocations(); !slices.Equal(got, []string{"upstream.credential.revoked refused UPSTREAM_NO_REVOCATION github"}) {
		t.Errorf("events %q", got)
	}
}

// A client whose configuration is gone has no secret to revoke with; its grant is forgotten.
func TestRevokeOfClientThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.fake.ClientID, w.fake.Secret = "by-hand", "canary-secret-of-the-administrator"
	secret, err := w.vault.Put(t.Context(), "s1", vault.Secret{ClientSecret: obsSecret(w.fake.Secret)})
	w.must(err)
	w.server.OAuth = &directory.OAuth{ClientID: "by-hand", SecretVersion: secret}
	w.publish()
	w.end(w.grant())
	w.server.OAuth = &directory.OAuth{ClientID: "another"}
	w.publish()
	w.revoke(1)
	if got := w.revocations(); !slices.Equal(got, []string{"upstream.credential.revoked refused UPSTREAM_CLIENT_REFUSED github"}) || len(w.revoked()) != 0 {
		t.Errorf("events %q, asked %q", got, w.revoked())
	}
}

// What a renewal gives while its grant is being ended is revoked, too: nobody would ever end it.
func TestEndedWhileRenewed(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	slow, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.fake.Set(upstreamfake.Behavior{Slow: slow, Asked: func(string) { once.Do(func() { close(asked) }) }})
	w.pass(59*time.Minute + 30*time.Second)
	renewed := make(chan error, 1)
	go func() {
		_, _, err := w.resolve(w.up, version, true)
		renewed <- err
	}()
	<-asked
	_, err := w.up.End(t.Context(), connection)
	w.must(err)
	close(slow)
	wantFault(t, <-renewed, fault.Precondition, vault.ReasonMissing)
	w.revoke(2)
	w.fake.Lock()
	defer w.fake.Unlock()
	if len(w.fake.Mistakes) > 0 || len(w.fake.Revoked) < 3 {
		t.Errorf("revoked %q, mistakes %q", w.fake.Revoked, w.fake.Mistakes)
	}
}
