// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func days(n int) *resource.Duration {
	d := resource.Duration(time.Duration(n) * 24 * time.Hour)
	return &d
}

// A token is shown once and only its SHA-256 is stored (ST-2, ST-3), under a name if it has none, for 90 days if no
// other time is set (ST-4).
func TestCreateToken(t *testing.T) {
	for _, tc := range []struct {
		name  string
		owner *resource.Owner
		kind  ident.Kind
	}{
		{"personal", ownedBy("bob"), ident.KindUser},
		{"team", ownedBy("eng"), ident.KindTeam},
		{"organisation", everybody(), ident.KindOrganization},
		{"service account", &resource.Owner{ServiceAccount: "ci"}, ident.KindServiceAccount},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(gateway("gw", seenBy()))
			w, err := o.Create(t.Context(), o.as("root"), token(tc.owner, "gw"), catalog.WriteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			kind, sha, ok := ident.ParseBearer(w.Token)
			if !ok || kind != tc.kind {
				t.Fatalf("the token is a %q, well formed %v", kind, ok)
			}
			got := w.Object.(*catalog.BearerToken)
			if got.Name == "" || got.Creator != mail("root") || !got.ExpireTime.Equal(o.now.Add(90*24*time.Hour)) || len(got.SHA256) > 0 || got.TTL != nil {
				t.Errorf("created %+v", got)
			}
			var dump strings.Builder
			found := false
			_, err = o.store.Snapshot(t.Context(), func(r *catalog.Record) error {
				dump.WriteString(r.Name + r.Lookup + string(r.Body))
				found = found || r.Kind == catalog.KindBearerToken && r.Lookup == hex.EncodeToString(sha[:])
				return nil
			})
			if err != nil || !found || strings.Contains(dump.String(), w.Token) || strings.Contains(dump.String(), w.Token[6:]) {
				t.Errorf("found by its hash: %v; the dump has the token: %v; %v", found, strings.Contains(dump.String(), w.Token), err)
			}
			if sha != sha256.Sum256([]byte(w.Token)) {
				t.Error("the hash is of something else")
			}
			again, err := o.Get(t.Context(), o.as("root"), catalog.KindBearerToken, got.Name)
			if err != nil || len(again.(*catalog.BearerToken).SHA256) > 0 {
				t.Errorf("get shows the hash: %v", err)
			}
		})
	}
}

// What a token must be, its owner's rights included (ST-5, auth.md 8).
func TestTokenFields(t *testing.T) {
	o := newOrg(t)
	o.create(gateway("open", seenBy()), gateway("eng", seenBy("eng")), gateway("bob", seenBy("bob")), gateway("ops", seenBy("ops")))
	with := func(tok *catalog.BearerToken, change func(*catalog.BearerToken)) *catalog.BearerToken {
		change(tok)
		return tok
	}
	account := &resource.Owner{ServiceAccount: "ci"}
	const bad, out = "invalid INVALID_FIELD", "invalid TOKEN_GATEWAY_NOT_ALLOWED"
	for _, tc := range []struct {
		name, want, field string
		token             *catalog.BearerToken
	}{
		{"user within", "", "", token(ownedBy("bob"), "open", "eng", "bob")},
		{"user outside a team", out, "gateways[0]", token(ownedBy("bob"), "ops")},
		{"user at another's gateway", out, "gateways[0]", token(ownedBy("ada"), "bob")},
		{"team", "", "", token(ownedBy("eng"), "open", "eng")},
		{"team at another team's", out, "gateways[0]", token(ownedBy("eng"), "ops")},
		{"team at a member's", out, "gateways[0]", token(ownedBy("eng"), "bob")},
		{"organisation", "", "", token(everybody(), "open")},
		{"organisation at a team's", out, "gateways[0]", token(everybody(), "eng")},
		{"service account", "", "", token(account, "open", "eng")},
		{"service account at a person's", out, "gateways[0]", token(account, "bob")},
		{"unknown gateway", "invalid UNKNOWN_REFERENCE", "gateways[0]", token(everybody(), "nothing")},
		{"no gateway", bad, "gateways", token(everybody())},
		{"gateway twice", bad, "gateways[1]", token(everybody(), "open", "open")},
		{"unknown team", "invalid UNKNOWN_REFERENCE", "owner.team", token(&resource.Owner{Team: "nobody"}, "open")},
		{"deactivated owner", bad, "owner.user", token(ownedBy("ghost"), "open")},
		{"no owner", bad, "owner", token(nil, "open")},
		{"two owners", bad, "owner", token(&resource.Owner{User: mail("bob"), Team: "eng"}, "open")},
		{"365 days", "", "", with(token(everybody(), "open"), func(tok *catalog.BearerToken) { tok.TTL = days(365) })},
		{"366 days (ST-4)", bad, "ttl", with(token(everybody(), "open"), func(tok *catalog.BearerToken) { tok.TTL = days(366) })},
		{"no time", bad, "ttl", with(token(everybody(), "open"), func(tok *catalog.BearerToken) { tok.TTL = days(0) })},
		{"scopes", "", "", with(token(everybody(), "open"), func(tok *catalog.BearerToken) { tok.Scopes = []string{"mcp"} })},
		{"scope with a space", bad, "scopes[0]", with(token(everybody(), "open"), func(tok *catalog.BearerToken) { tok.Scopes = []string{"a b"} })},
		{"admin API", "", "", &catalog.BearerToken{Owner: ownedBy("bob"), AdminAPI: true}},
		{"admin API and a gateway", bad, "gateways", with(token(ownedBy("bob"), "open"), func(tok *catalog.BearerToken) { tok.AdminAPI = true })},
		{"admin API of a team", bad, "owner", &catalog.BearerToken{Owner: ownedBy("eng"), AdminAPI: true}},
		{"admin API with scopes", bad, "scopes", &catalog.BearerToken{Owner: ownedBy("bob"), AdminAPI: true, Scopes: []string{"mcp"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), tc.token, catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
}

func TestAuthenticate(t *testing.T) {
	const refused = "unauthenticated TOKEN_REFUSED"
	unknown, _ := ident.MintBearer(ident.KindUser)
	for _, tc := range []struct {
		name, want, text string
		token            func(o *org, admin, gateway string) string
	}{
		{"admin token", "", "", func(_ *org, admin, _ string) string { return admin }},
		{"token for gateways", refused, "made for gateways", func(_ *org, _, gateway string) string { return gateway }},
		{"unknown", refused, "not known", func(*org, string, string) string { return unknown }},
		{"garbage", refused, "not known", func(*org, string, string) string { return "Bearer" }},
		{"empty", refused, "not known", func(*org, string, string) string { return "" }},
		{"wrong checksum (ST-1)", refused, "not known", func(_ *org, admin, _ string) string { return admin[:54] + "_" }},
		{"expired", refused, "expired", func(o *org, admin, _ string) string { o.now = o.now.Add(90 * 24 * time.Hour); return admin }},
		{"an hour before", "", "", func(o *org, admin, _ string) string { o.now = o.now.Add(90*24*time.Hour - time.Hour); return admin }},
		{"deleted", refused, "not known", func(o *org, admin, _ string) string {
			if _, err := o.Delete(o.t.Context(), o.as("edna"), catalog.KindBearerToken, "admin", "", catalog.WriteOptions{}); err != nil {
				o.t.Fatal(err)
			}
			return admin
		}},
		{"deactivated owner (ST-9)", refused, "not known", func(o *org, admin, _ string) string {
			if _, err := o.Update(o.t.Context(), o.as("root"), &catalog.User{Meta: named(mail("edna")), Deactivated: true}, nil, catalog.WriteOptions{}); err != nil {
				o.t.Fatal(err)
			}
			return admin
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(gateway("gw", seenBy()))
			mint := func(tok *catalog.BearerToken) string {
				w, err := o.Create(t.Context(), o.as("edna"), tok, catalog.WriteOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return w.Token
			}
			admin := mint(&catalog.BearerToken{Meta: named("admin"), Owner: ownedBy("edna"), AdminAPI: true})
			caller, err := o.Authenticate(t.Context(), tc.token(o, admin, mint(token(ownedBy("edna"), "gw"))))
			wantRefusal(t, err, tc.want, tc.text)
			want := catalog.Caller{}
			if tc.want == "" {
				want = o.as("edna")
				want.TokenName = "admin"
				tok := get[*catalog.BearerToken](o, catalog.KindBearerToken, "admin")
				if !tok.LastUseTime.Equal(o.now.Truncate(time.Minute)) {
					t.Errorf("last used %v", tok.LastUseTime)
				}
			}
			diff(t, "caller", want, caller)
		})
	}
}

// The first administrator is made once.
func TestBootstrap(t *testing.T) {
	o := newOrg(t)
	if _, created, err := o.Bootstrap(t.Context(), "x@example.com"); created || err != nil {
		t.Errorf("with an ADMIN there: created %v, %v", created, err)
	}
	for _, setup := range []struct {
		name string
		make catalog.Object
	}{{"empty", nil}, {"a member of that name", &catalog.User{Meta: named("First@example.com"), DisplayName: "F"}}} {
		t.Run(setup.name, func(t *testing.T) {
			o := emptyOrg(t)
			if setup.make != nil {
				o.create(setup.make)
			}
			token, created, err := o.Bootstrap(t.Context(), "First@Example.com")
			if !created || err != nil {
				t.Fatalf("created %v, %v", created, err)
			}
			caller, err := o.Authenticate(t.Context(), token)
			if err != nil || caller.Email != "first@example.com" || caller.Role != catalog.RoleAdmin {
				t.Errorf("the token opens the admin API for %+v, %v", caller, err)
			}
			if token, created, err = o.Bootstrap(t.Context(), "first@example.com"); created || token != "" || err != nil {
				t.Errorf("a second time: created %v, %v", created, err)
			}
		})
	}
	_, _, err := emptyOrg(t).Bootstrap(t.Context(), "nobody")
	wantRefusal(t, err, "invalid INVALID_FIELD", "e-mail address")
}
