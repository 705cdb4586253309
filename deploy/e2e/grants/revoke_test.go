// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestGrantRevoked is UP-11 with a real authorization server: when Ada is deactivated, or her connection is deleted, within 5 s no
// authserver gives the grant out, and the server that gave it takes its tokens no more: the refresh token was revoked there, once
// for two authservers.
func TestGrantRevoked(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, p *plane, controlPlane credentialv1connect.CredentialServiceClient){
		"deactivated": func(_ *testing.T, p *plane, _ credentialv1connect.CredentialServiceClient) {
			p.change("user", adaName, &distributionv1.Resource{Body: &distributionv1.Resource_User{
				User: &resourcev1.User{Name: adaName, Uid: adaUID, Deactivated: true, EndTime: timestamppb.Now()},
			}})
		},
		"deactivated and back": func(_ *testing.T, p *plane, _ credentialv1connect.CredentialServiceClient) {
			p.change("user", adaName, &distributionv1.Resource{Body: &distributionv1.Resource_User{
				User: &resourcev1.User{Name: adaName, Uid: adaUID, EndTime: timestamppb.Now()},
			}})
		},
		"connection deleted": func(t *testing.T, _ *plane, controlPlane credentialv1connect.CredentialServiceClient) {
			_, err := controlPlane.DeleteSecrets(t.Context(), &credentialv1.DeleteSecretsRequest{ConnectionUid: connectionUID})
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			as := newProvider(t, h.issuer+"/upstream/callback/tasks")
			p := newPlane(as.mcp, &resourcev1.OAuthCredential{
				ClientId: clientID, SecretVersion: h.secretOf(t, serverUID, as.secret), Scopes: []string{"openid", "offline_access"},
			})
			one, two := h.start(t, "one", p), h.start(t, "two", p)
			links := []string{h.connect(t, one, as)}
			version := p.version(t)
			header := resolve(t, two, version, false)
			if !as.takes(t, header) {
				t.Fatal("the authorization server does not take its token")
			}
			as.mu.Lock()
			refresh := as.secrets[slices.IndexFunc(as.secrets, func(s string) bool { return "Bearer "+s == header })+1]
			as.mu.Unlock()
			leave(t, p, h.controlPlane)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				var given []string
				for _, c := range []credentialv1connect.CredentialServiceClient{one, two} {
					given = append(given, refusal(t, c, version, false))
				}
				good := as.takes(t, header)
				if !good && given[0] != "" && given[1] != "" {
					t.Logf("refused as %q", given)
					break
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					t.Fatalf("after 5 s: refused as %q, the access token is good: %t", given, good)
				}
			}
			as.mu.Lock()
			revoked := slices.Clone(as.revoked)
			as.mu.Unlock()
			if len(revoked) == 0 || revoked[0] != refresh {
				t.Errorf("%d tokens were revoked, the refresh token not first", len(revoked))
			}
			if slices.Sort(revoked); len(slices.Compact(slices.Clone(revoked))) != len(revoked) {
				t.Error("a token was revoked twice")
			}
			h.noSecrets(t, append(append(links, as.secret, as.login, h.password), as.secrets...))
		})
	}
}

// TestBackWhileAway is SC-2 and UP-11 for somebody who was deactivated and activated again while no authserver ran: what Ada had
// before ends all the same, at the start, and what she gets then stays.
func TestBackWhileAway(t *testing.T) {
	h := newHouse(t)
	as := newProvider(t, h.issuer+"/upstream/callback/tasks")
	p := newPlane(as.mcp, &resourcev1.OAuthCredential{
		ClientId: clientID, SecretVersion: h.secretOf(t, serverUID, as.secret), Scopes: []string{"openid", "offline_access"},
	})
	address := h.listener.Addr().String()
	b := newBrowser(t)
	loggedIn := func() bool { return strings.Contains(b.get(h.issuer+"/account"), "Log out") }
	logIn := func() {
		b.post(h.issuer, b.get(h.issuer+"/login"), "/login/password", "email", adaName, "password", h.password)
		if !loggedIn() {
			t.Fatal("Ada cannot log in")
		}
	}
	version, header := "", ""
	t.Run("before", func(t *testing.T) { // the authserver ends with it
		one := h.start(t, "one", p)
		h.connect(t, one, as)
		version = p.version(t)
		header = resolve(t, one, version, false)
		logIn()
	})
	now := time.Now()
	for _, deactivated := range []bool{true, false} {
		p.change("user", adaName, &distributionv1.Resource{Body: &distributionv1.Resource_User{
			User: &resourcev1.User{Name: adaName, Uid: adaUID, EndTime: timestamppb.New(now), Deactivated: deactivated},
		}})
	}
	t.Run("after", func(t *testing.T) {
		var err error
		h.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		must(t, err)
		one := h.start(t, "one", p)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(within); ; {
			reason, in, good := refusal(t, one, version, false), loggedIn(), as.takes(t, header)
			if reason == "CREDENTIAL_MISSING" && !in && !good {
				break
			}
			select {
			case <-tick.C:
			case <-end:
				t.Fatalf("refused as %q, logged in: %t, the upstream token is good: %t", reason, in, good)
			}
		}
		logIn()
		h.connect(t, one, as)
	})
	t.Run("once more", func(t *testing.T) { // it was ended once
		var err error
		h.listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		must(t, err)
		one := h.start(t, "one", p)
		if !as.takes(t, resolve(t, one, p.version(t), false)) || !loggedIn() {
			t.Error("what she got since is gone")
		}
	})
}
