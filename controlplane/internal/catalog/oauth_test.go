// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

const publicKeys = `{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}`

func provider(name string, change ...func(*catalog.IdentityProvider)) *catalog.IdentityProvider {
	p := &catalog.IdentityProvider{Meta: named(name), Issuer: "https://" + name + ".example", ClientID: "penstock"}
	for _, c := range change {
		c(p)
	}
	return p
}

func client(name string, change ...func(*catalog.OAuthClient)) *catalog.OAuthClient {
	c := &catalog.OAuthClient{Meta: named(name), RedirectURIs: []string{"https://app.example/cb"}}
	for _, f := range change {
		f(c)
	}
	return c
}

// actsAt makes a client that acts as itself at gateways.
func actsAt(gateways ...string) func(*catalog.OAuthClient) {
	return func(c *catalog.OAuthClient) {
		c.RedirectURIs, c.Authentication, c.ClientCredentials = nil, resource.ClientAuthSecret, &resource.ClientCredentials{Gateways: gateways}
	}
}

// TestProviderSecrets: the secret goes to the authserver, is kept by other changes, and goes with the resource.
func TestProviderSecrets(t *testing.T) {
	o := newOrg(t)
	withSecret := func(p *catalog.IdentityProvider) { p.ClientSecret = canary }
	out, err := apply(o, "root", catalog.ApplyOptions{}, provider("okta", withSecret), provider("dex"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "changed fields", []string{"client_id", "client_secret", "issuer"}, slices.DeleteFunc(out.Items[0].ChangedFields, func(f string) bool { return f == "name" }))
	p := get[*catalog.IdentityProvider](o, catalog.KindIdentityProvider, "okta")
	if p.SecretVersion != "v1" || p.ClientSecret != "" || o.vault.secrets[p.UID+"/v1"]["client_secret"] != canary {
		t.Errorf("got %+v; the vault has %v", p, o.vault.secrets)
	}
	out, err = apply(o, "root", catalog.ApplyOptions{}, provider("okta"), provider("dex"))
	if err != nil || out.Items[0].Action != catalog.ActionUnchanged || get[*catalog.IdentityProvider](o, catalog.KindIdentityProvider, "okta").SecretVersion != "v1" {
		t.Errorf("without a secret: %+v, %v", out, err)
	}
	if _, err := apply(o, "root", catalog.ApplyOptions{}, provider("okta", withSecret)); err != nil {
		t.Fatal(err)
	}
	if v := get[*catalog.IdentityProvider](o, catalog.KindIdentityProvider, "okta").SecretVersion; v != "v2" {
		t.Errorf("after a rotation the version is %q", v)
	}
	if _, err := apply(o, "root", catalog.ApplyOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	if o.vault.size() != 0 {
		t.Errorf("the vault still has %v", o.vault.secrets)
	}
}

// TestClientSecrets: they survive other changes and go with the way to authenticate; nobody is shown a hash.
func TestClientSecrets(t *testing.T) {
	o := newOrg(t)
	o.create(gateway("gw", seenBy()), client("ci", actsAt("gw")))
	stored := func() int {
		rec := o.last().Ops[0].Record
		got, err := resource.Decode(rec.Kind, rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		return len(got.(*catalog.OAuthClient).SecretSHA256)
	}
	for i, want := range []int{1, 2, 2} {
		w, err := o.CreateClientSecret(t.Context(), o.as("root"), "ci", false)
		if err != nil || !strings.HasPrefix(w.Token, "psc_") || w.Object.(*catalog.OAuthClient).SecretSHA256 != nil {
			t.Fatalf("secret %d: %+v, %v", i, w, err)
		}
		if got := stored(); got != want {
			t.Errorf("after %d secrets %d are stored, want %d", i+1, got, want)
		}
	}
	c := get[*catalog.OAuthClient](o, catalog.KindOAuthClient, "ci")
	if c.SecretSHA256 != nil || !c.SecretTime.Equal(o.now) {
		t.Errorf("got %+v", c)
	}
	out, err := apply(o, "root", catalog.ApplyOptions{}, client("ci", actsAt("gw")))
	if err != nil || out.Items[0].Action != catalog.ActionUnchanged {
		t.Errorf("applied again: %+v, %v", out, err)
	}
	c.DisplayName = "CI"
	if _, err := o.Update(t.Context(), o.as("root"), c, []string{"*"}, catalog.WriteOptions{}); err != nil || stored() != 2 {
		t.Errorf("after another change %d are stored, %v", stored(), err)
	}
	_, err = o.CreateClientSecret(t.Context(), o.as("edna"), "ci", false)
	wantRefusal(t, err, "not_found RESOURCE_NOT_FOUND")
	turned := client("ci", func(c *catalog.OAuthClient) { c.Authentication, c.JWKS = resource.ClientAuthPrivateKeyJWT, publicKeys })
	if _, err := o.Update(t.Context(), o.as("root"), turned, []string{"*"}, catalog.WriteOptions{}); err != nil || stored() != 0 {
		t.Errorf("with keys in their place %d are stored, %v", stored(), err)
	}
	_, err = o.CreateClientSecret(t.Context(), o.as("root"), "ci", false)
	wantRefusal(t, err, "precondition CLIENT_TAKES_NO_SECRET")
}

// TestDisabledLogin: what is disabled is taken away in the fast lane.
func TestDisabledLogin(t *testing.T) {
	o := newOrg(t)
	o.create(provider("okta"), client("app"))
	for _, x := range []catalog.Object{provider("okta", func(p *catalog.IdentityProvider) { p.Disabled = true }), client("app", func(c *catalog.OAuthClient) { c.Disabled = true })} {
		for _, want := range [][]catalog.Key{{{Kind: x.Kind(), Name: x.Metadata().Name}}, nil} {
			x.Metadata().Labels = map[string]string{"n": x.Metadata().Labels["n"] + "x"}
			if _, err := o.Update(t.Context(), o.as("root"), x, nil, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			diff(t, "denials", want, o.last().Denials)
		}
	}
}

// TestIdentities is AZ-24: an account is one user's, also within one apply and after it was taken away.
func TestIdentities(t *testing.T) {
	o := newOrg(t)
	account := func(subject string) []resource.Identity {
		return []resource.Identity{{Issuer: "https://okta.example", Subject: subject}}
	}
	user := func(name string, ids []resource.Identity) *catalog.User {
		return &catalog.User{Meta: named(mail(name)), Identities: ids}
	}
	set := func(who, name string, ids []resource.Identity) error {
		_, err := o.Update(t.Context(), o.as(who), user(name, ids), []string{"identities"}, catalog.WriteOptions{})
		return err
	}
	accounts := func(n int) (ids []resource.Identity) {
		for _, subject := range numbered(n) {
			ids = append(ids, account(subject)...)
		}
		return ids
	}
	wantRefusal(t, set("root", "bob", accounts(16)), "")
	wantRefusal(t, set("root", "bob", nil), "")
	wantField(t, set("root", "bob", account(long(256))), "identities[0].subject")
	wantRefusal(t, set("ada", "ada", account("1")), "denied ROLE_REQUIRED")
	wantRefusal(t, set("root", "ada", account("1")), "")
	wantRefusal(t, set("root", "ada", account("1")), "")
	err := set("root", "bob", account("1"))
	wantRefusal(t, err, "invalid IDENTITY_TAKEN", mail("ada"))
	wantField(t, err, "identities[0]")
	wantRefusal(t, set("root", "bob", account("2")), "")
	_, err = apply(o, "root", catalog.ApplyOptions{}, user("new", account("3")), user("newer", account("3")))
	wantRefusal(t, err, "invalid IDENTITY_TAKEN")
	_, err = apply(o, "root", catalog.ApplyOptions{}, user("ada", account("4")), user("bob", account("1")))
	wantRefusal(t, err, "")
	// A configuration without accounts keeps them: a login added them.
	out, err := apply(o, "root", catalog.ApplyOptions{}, user("bob", nil))
	if err != nil || out.Items[0].Action != catalog.ActionUnchanged {
		t.Errorf("got %+v, %v", out, err)
	}
	wantRefusal(t, set("root", "bob", nil), "")
	wantRefusal(t, set("root", "ada", account("1")), "")
	for text, ids := range map[string][]resource.Identity{
		"identities[0].subject": account(""), "identities[0].issuer": {{Issuer: "http://x.example", Subject: "1"}}, "identities[1]": append(account("9"), account("9")...),
		"identities": accounts(17),
	} {
		err := set("root", "bob", ids)
		wantRefusal(t, err, "invalid INVALID_FIELD")
		wantField(t, err, text)
	}
}

// TestScopes: a gateway has "mcp" and what its tools require, as they are at each write.
func TestScopes(t *testing.T) {
	o := newOrg(t)
	o.standard()
	scoped := func(tool string, scopes ...string) catalog.ToolAssignment {
		a := pin(tool, "shared")
		a.RequiredScopes = scopes
		return a
	}
	g := gateway("gw", seenBy(), scoped("files/read", "mcp:read"), scoped("files/write", "mcp:write", "mcp:read"))
	g.ScopesSupported = []string{"forged"}
	o.create(g)
	diff(t, "scopes", []string{"mcp", "mcp:read", "mcp:write"}, get[*catalog.Gateway](o, catalog.KindGateway, "gw").ScopesSupported)
	g.Tools = g.Tools[:1]
	if _, err := o.Update(t.Context(), o.as("root"), g, []string{"tools"}, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	diff(t, "after an assignment went", []string{"mcp", "mcp:read"}, get[*catalog.Gateway](o, catalog.KindGateway, "gw").ScopesSupported)
	i := slices.IndexFunc(o.last().Ops, func(op catalog.Op) bool { return op.Kind == catalog.KindGateway })
	if i < 0 || !strings.Contains(string(o.last().Ops[i].Record.Body), `"scopes_supported":["mcp","mcp:read"]`) {
		t.Errorf("the change does not carry the gateway's scopes: %+v", o.last().Ops)
	}
}

// TestClientAuth: each way to authenticate is enough, and the condition names them.
func TestClientAuth(t *testing.T) {
	o := newOrg(t)
	for want, ways := range map[string]*resource.Authentication{
		"Clients authenticate with OAuth.":                  {OAuth: &struct{}{}},
		"Clients authenticate with identity assertions.":    {IDJAG: &resource.IDJAG{}},
		"Clients authenticate with bearer tokens.":          {BearerToken: &struct{}{}},
		"Clients authenticate with OAuth or bearer tokens.": {OAuth: &struct{}{}, BearerToken: &struct{}{}},
	} {
		g := gateway("gw", seenBy())
		g.Authentication = ways
		if _, err := apply(o, "root", catalog.ApplyOptions{}, g); err != nil {
			t.Fatal(err)
		}
		got := get[*catalog.Gateway](o, catalog.KindGateway, "gw").Status.Conditions
		if !slices.ContainsFunc(got, func(c resource.Condition) bool { return c.Type == "HasClientAuth" && c.Status && c.Message == want }) {
			t.Errorf("want %q among %+v", want, got)
		}
	}
}

// TestAssertedBy: whose identity assertions count at a gateway (JAG-14), and that such a provider is not deleted under it.
func TestAssertedBy(t *testing.T) {
	o := newOrg(t)
	o.create(provider("okta", asserting(func(*resource.IDJAGTrust) {})), provider("corp"))
	by := func(names ...string) *catalog.Gateway {
		g := gateway("gw", seenBy())
		g.Authentication = &resource.Authentication{IDJAG: &resource.IDJAG{IdentityProviders: names}}
		return g
	}
	const at = "authentication.id_jag.identity_providers"
	for _, tc := range []struct {
		name, want, field string
		by                []string
	}{
		{"every one", "", "", nil},
		{"one", "", "", []string{"okta"}},
		{"one that asserts nothing yet", "", "", []string{"corp"}},
		{"one that there is not", "invalid UNKNOWN_REFERENCE", at + "[0]", []string{"nope"}},
		{"one twice", "invalid INVALID_FIELD", at + "[1]", []string{"okta", "okta"}},
		{"no name", "invalid INVALID_FIELD", at + "[0]", []string{""}},
		{"too many", "invalid INVALID_FIELD", at, numbered(101)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := o.Create(t.Context(), o.as("root"), by(tc.by...), catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
		})
	}
	o.create(by("okta", "corp"))
	diff(t, "providers", []string{"corp", "okta"}, get[*catalog.Gateway](o, catalog.KindGateway, "gw").Authentication.IDJAG.IdentityProviders)
	_, err := o.Delete(t.Context(), o.as("root"), catalog.KindIdentityProvider, "okta", "", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition RESOURCE_IN_USE", `gateway "gw"`)

	// Both come and go in one apply, in whatever order they are written.
	both := by("new")
	both.Name = "managed"
	if _, err := apply(o, "root", catalog.ApplyOptions{}, both, provider("new")); err != nil {
		t.Error(err)
	}
	if _, err := apply(o, "root", catalog.ApplyOptions{Prune: true}, provider("corp"), &catalog.User{Meta: named(mail("root")), Role: catalog.RoleAdmin}); err != nil {
		t.Error(err)
	}
}

// lacking is a fleet whose node-old and auth-old have no capability, if they are there.
type lacking struct{ old, oldAuthserver bool }

// Lacking implements catalog.Capabilities.
func (l *lacking) Lacking(string) []string {
	if l.old {
		return []string{"node-old"}
	}
	return nil
}

// LackingAuthservers implements catalog.Capabilities.
func (l *lacking) LackingAuthservers(string) []string {
	if l.oldAuthserver {
		return []string{"auth-old"}
	}
	return nil
}

// TestCapabilities is D-37: what a live node cannot enforce is refused, naming the node, unless it was there before.
func TestCapabilities(t *testing.T) {
	o := newOrg(t)
	o.standard()
	nodes := &lacking{old: true}
	c := catalog.New(catalog.Config{Store: o.store, Nodes: nodes, Now: func() time.Time { return o.now }})
	create := func(g *catalog.Gateway) error {
		_, err := c.Create(t.Context(), o.as("root"), g, catalog.WriteOptions{})
		return err
	}
	login := func(name string) *catalog.Gateway {
		g := gateway(name, seenBy(), pin("files/read", "shared"))
		g.Authentication.OAuth = &struct{}{}
		return g
	}
	scoped := gateway("scoped", seenBy(), pin("files/read", "shared"))
	scoped.Tools[0].RequiredScopes = []string{"mcp:write"}
	err := create(login("login"))
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "authentication.oauth")
	err = create(scoped)
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "tools[files/read].required_scopes")
	wantRefusal(t, create(gateway("plain", seenBy(), pin("files/read", "shared"))), "")
	managed := gateway("managed", seenBy())
	managed.Authentication = &resource.Authentication{IDJAG: &resource.IDJAG{}}
	err = create(managed)
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "authentication.id_jag")
	o.create(provider("okta", giving))
	err = create(accepts("okta", "api://a"))
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "authentication.jwks")
	nodes.old = false
	wantRefusal(t, create(accepts("okta", "api://a")), "")
	wantRefusal(t, create(login("login")), "")
	if _, err := c.Delete(t.Context(), o.as("root"), catalog.KindGateway, "plain", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, create(login("gone")), "")
	if _, err := c.Delete(t.Context(), o.as("root"), catalog.KindGateway, "gone", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	nodes.old = true
	_, err = c.Update(t.Context(), o.as("root"), &catalog.Gateway{Meta: named("login"), Description: "x"}, nil, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	_, err = c.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "plain", catalog.WriteOptions{})
	wantRefusal(t, err, "")
	_, err = c.Undelete(t.Context(), o.as("root"), catalog.KindGateway, "gone", catalog.WriteOptions{})
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
}

// TestSetPassword: who may, and what is kept.
func TestSetPassword(t *testing.T) {
	const good = "correct horse battery"
	o := newOrg(t)
	for _, tc := range []struct{ who, name, want string }{
		{"root", "bob", ""},
		{"bob", "bob", ""},
		{"system", "bob", ""},
		{"edna", "bob", "not_found RESOURCE_NOT_FOUND"},
		{"ada", "bob", "not_found RESOURCE_NOT_FOUND"},
		{"root", "nobody", "not_found RESOURCE_NOT_FOUND"},
	} {
		before := o.head()
		wantRefusal(t, o.SetPassword(t.Context(), o.as(tc.who), mail(tc.name), good), tc.want)
		if o.head() != before {
			t.Error("a password made a revision")
		}
	}
	uid := get[*catalog.User](o, catalog.KindUser, mail("bob")).UID
	if o.vault.secrets["password/"+uid][""] != good {
		t.Errorf("the vault has %v", o.vault.secrets)
	}
	err := o.SetPassword(t.Context(), o.as("bob"), mail("bob"), "short")
	wantRefusal(t, err, "invalid PASSWORD_REFUSED", "12 to 256")
	wantField(t, err, "password")
	without := catalog.New(catalog.Config{Store: o.store})
	wantRefusal(t, without.SetPassword(t.Context(), o.as("root"), mail("bob"), good), "precondition SECRETS_NOT_CONFIGURED")
}
