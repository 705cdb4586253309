// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// RL-1, AS-14: each route with its buckets, and who may read it from a page of another origin. "self" is a bucket that the
// handler takes from.
func TestRoutes(t *testing.T) {
	w := newTown(t)
	const base = "/api/auth/oauth2/"
	want := map[string]string{
		"/.well-known/oauth-authorization-server": "  cors", "/.well-known/openid-configuration": "  cors", "/api/auth/jwks": "  cors",
		base + "register": "  cors", base + "token": limit.Token + " " + limit.TokenClient + " cors", base + "revoke": limit.Token + " " + limit.TokenClient + " cors",
		base + "introspect": limit.Token + "  ", base + "authorize": limit.Authorize + " " + limit.AuthorizeClient + " page", base + "consent": limit.Authorize + "  page",
		"/login": limit.Login + "  page", "/login/password": limit.Login + "  page", "/login/provider/{provider}": limit.Login + "  page",
		"/login/callback/{provider}": limit.Login + "  page", "/logout": "  page", "/account": "  page", "/account/revoke": "  page", "/{$}": "  page", "/assets/": "  page",
		"/connect/{link}": limit.Connect + "  page", "/upstream/callback/{server}": limit.Connect + "  page", "/upstream/client.json": "  cors",
		"/scim/v2/": "  ", "/ssf/{provider}": "  ", "/login/backchannel/{provider}": limit.Token + "  ",
	}
	for _, r := range w.a.routes() {
		kind := ""
		if r.Page {
			kind = "page"
		}
		if r.CORS {
			kind += "cors"
		}
		if got := r.Bucket + " " + r.ClientBucket + " " + kind; got != want[r.Path] {
			t.Errorf("%s has %q, want %q", r.Path, got, want[r.Path])
		}
		if (r.ClientBucket != "") != (r.Client != nil) {
			t.Errorf("%s has a bucket of clients and nobody who says which client it is", r.Path)
		}
		delete(want, r.Path)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

// KM-7, §16 Token 104: a node learns about tokens of the gateways of its region only.
func TestIntrospectionByRegion(t *testing.T) {
	w := newTown(t, func(s state) {
		for _, r := range s {
			if g := r.GetGateway(); g != nil {
				g.Regions = []string{"eu"}
			}
		}
	})
	p := enroll(w)
	w.must(w.a.SetPassword(t.Context(), "uid-ada", talkPassword))
	access, _ := p.tokens("redeem", p.redeem(p.decide(p.logIn(), "allow"), talkVerifier))
	form := url.Values{"token": {access}}.Encode()
	for region, active := range map[string]bool{"eu": true, "us": false} {
		a := w.send("POST", w.inside+"/api/auth/oauth2/introspect", form, "Content-Type", "application/x-www-form-urlencoded", "Test-Role", string(ident.RoleNode), "Test-Region", region)
		if a.status != 200 || strings.HasPrefix(a.body, `{"active":true`) != active || !active && a.body != `{"active":false}` {
			t.Errorf("a node of %s: %d %s", region, a.status, a.body)
		}
	}
}

// SE-3: signing keys alone are enough for a missing key file to end a start, and no new one is made in its place.
func TestLostKeyFile(t *testing.T) {
	w := newTown(t)
	path := filepath.Join(w.dir, "keyset.json")
	w.must(os.Remove(path))
	_, err := w.server().openVault(t.Context(), w.db)
	if f := fault.From(err); err == nil || f.Reason != envelope.ReasonKeyMissing || !strings.Contains(f.Public, "put it back") {
		t.Errorf("the start goes on: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key file was made")
	}
	w.must(envelope.CreateKeyFile(path))
	if _, err := w.server().openVault(t.Context(), w.db); fault.From(err).Reason != envelope.ReasonKeyMissing {
		t.Errorf("another deployment's key file: %v", err)
	}
}
