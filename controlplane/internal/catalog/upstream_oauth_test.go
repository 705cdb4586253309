// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// granted is a server that people give grants for.
func granted(name string, change func(c *resource.OAuthCredential)) *catalog.Server {
	s := server(name)
	c := &resource.OAuthCredential{}
	if change != nil {
		change(c)
	}
	s.Credential = &resource.ServerCredential{OAuth: c}
	return s
}

// TestUpstreamOAuth has a row for each rule of credential.oauth (UP-4).
func TestUpstreamOAuth(t *testing.T) {
	type c = resource.OAuthCredential
	const bad = "invalid INVALID_FIELD"
	by := func(change func(o *c)) *catalog.Server { return granted("new", change) }
	both := by(nil)
	both.Credential.None = &struct{}{}
	stdio := by(nil)
	stdio.StreamableHTTP, stdio.Stdio = nil, &resource.Stdio{Command: "x"}
	endpoints := func(o *c) {
		o.ClientID, o.AuthorizationEndpoint, o.TokenEndpoint = "penstock", "https://as.example/authorize", "https://as.example/token"
	}
	for _, tc := range []struct {
		name, want, field string
		server            *catalog.Server
	}{
		{"all discovered", "", "", by(nil)},
		{"all set", "", "", by(func(o *c) {
			*o = c{Issuer: "https://as.example/t", ClientID: "penstock", ClientSecret: "s", Scopes: []string{"read", "write"}, NoResource: true}
		})},
		{"no metadata", "", "", by(endpoints)},
		{"on this machine", "", "", by(func(o *c) { o.Issuer = "http://127.0.0.1:8081" })},
		{"two kinds", bad, "credential", both},
		{"stdio", bad, "credential.oauth", stdio},
		{"plain issuer", bad, "credential.oauth.issuer", by(func(o *c) { o.Issuer = "http://as.example" })},
		{"issuer with a query", bad, "credential.oauth.issuer", by(func(o *c) { o.Issuer = "https://as.example?x=1" })},
		{"long client", bad, "credential.oauth.client_id", by(func(o *c) { o.ClientID = strings.Repeat("x", 513) })},
		{"client with a line break", bad, "credential.oauth.client_id", by(func(o *c) { o.ClientID = "a\nb" })},
		{"long secret", bad, "credential.oauth.client_secret", by(func(o *c) { o.ClientID, o.ClientSecret = "a", canary+strings.Repeat("x", 4096) })},
		{"secret of nobody", bad, "credential.oauth.client_secret", by(func(o *c) { o.ClientSecret = canary })},
		{"scope twice", bad, "credential.oauth.scopes[1]", by(func(o *c) { o.Scopes = []string{"a", "a"} })},
		{"scope with a space", bad, "credential.oauth.scopes[0]", by(func(o *c) { o.Scopes = []string{"a b"} })},
		{"33 scopes", bad, "credential.oauth.scopes", by(func(o *c) { o.Scopes = numbered(33) })},
		{"one endpoint", bad, "credential.oauth.token_endpoint", by(func(o *c) { endpoints(o); o.TokenEndpoint = "" })},
		{"the other endpoint", bad, "credential.oauth.token_endpoint", by(func(o *c) { endpoints(o); o.AuthorizationEndpoint = "" })},
		{"plain token endpoint", bad, "credential.oauth.token_endpoint", by(func(o *c) { endpoints(o); o.TokenEndpoint = "http://as.example/token" })},
		{"plain authorization endpoint", bad, "credential.oauth.authorization_endpoint", by(func(o *c) { endpoints(o); o.AuthorizationEndpoint = "http://as.example/a" })},
		{"endpoints without a client", bad, "credential.oauth.client_id", by(func(o *c) { endpoints(o); o.ClientID = "" })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			_, err := o.Create(t.Context(), o.as("root"), tc.server, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error has the secret")
			}
		})
	}
}

// TestUpstreamClientSecret: it goes to the authserver and is stored nowhere else; the reference to it is nobody's to write, and
// stays with the client at the place that it was given for.
func TestUpstreamClientSecret(t *testing.T) {
	o := newOrg(t)
	secret := func(c *resource.OAuthCredential) {
		c.ClientID, c.ClientSecret, c.SecretVersion = "penstock", canary, "v_forged"
	}
	plain := func(c *resource.OAuthCredential) { c.ClientID = "penstock" }
	put := func(change func(c *resource.OAuthCredential), edit func(s *catalog.Server)) *resource.OAuthCredential {
		t.Helper()
		s := granted("github", change)
		if edit != nil {
			edit(s)
		}
		if _, err := apply(o, "root", catalog.ApplyOptions{}, s); err != nil {
			t.Fatal(err)
		}
		for _, op := range o.last().Ops {
			if op.Record != nil && strings.Contains(string(op.Record.Body), canary) {
				t.Errorf("it is stored: %s", op.Record.Body)
			}
		}
		return get[*catalog.Server](o, catalog.KindServer, "github").Credential.OAuth
	}
	got := put(secret, nil)
	uid := get[*catalog.Server](o, catalog.KindServer, "github").UID
	if got.ClientSecret != "" || got.SecretVersion != "v1" || o.vault.secrets[uid+"/v1"]["client_secret"] != canary {
		t.Errorf("got %+v; the vault has %v", got, o.vault.secrets)
	}
	if out, err := apply(o, "root", catalog.ApplyOptions{}, granted("github", plain)); err != nil || out.Items[0].Action != catalog.ActionUnchanged {
		t.Errorf("without a secret: %+v, %v", out, err)
	}
	for _, tc := range []struct {
		name   string
		change func(c *resource.OAuthCredential)
		edit   func(s *catalog.Server)
		keeps  bool
	}{
		{"scopes", func(c *resource.OAuthCredential) { plain(c); c.Scopes = []string{"read"} }, nil, true},
		{"a forged reference", func(c *resource.OAuthCredential) { plain(c); c.SecretVersion = "v_forged" }, nil, true},
		{"another URL", plain, func(s *catalog.Server) { s.StreamableHTTP.URL = "https://evil.example/mcp" }, false},
		{"another issuer", func(c *resource.OAuthCredential) { plain(c); c.Issuer = "https://evil.example" }, nil, false},
		{"another client", func(c *resource.OAuthCredential) { c.ClientID = "other" }, nil, false},
		{"another token endpoint", func(c *resource.OAuthCredential) {
			plain(c)
			c.AuthorizationEndpoint, c.TokenEndpoint = "https://evil.example/a", "https://evil.example/t"
		}, nil, false},
	} {
		before := put(secret, nil).SecretVersion
		switch got := put(tc.change, tc.edit).SecretVersion; {
		case tc.keeps && got != before, !tc.keeps && got != "":
			t.Errorf("%s: the reference is %q, was %q", tc.name, got, before)
		}
	}
	w, err := o.Create(t.Context(), o.as("root"), granted("forged", func(c *resource.OAuthCredential) { c.ClientID, c.SecretVersion = "x", "v1" }), catalog.WriteOptions{})
	if err != nil || w.Object.(*catalog.Server).Credential.OAuth.SecretVersion != "" {
		t.Errorf("a new server has %+v, %v", w.Object, err)
	}
}

// D-37: a node that would not know the kind of credential is named.
func TestUpstreamOAuthCapability(t *testing.T) {
	o := newOrg(t)
	nodes := &lacking{}
	c := catalog.New(catalog.Config{Store: o.store, Nodes: nodes, Now: func() time.Time { return o.now }})
	create := func(s *catalog.Server) error {
		_, err := c.Create(t.Context(), o.as("root"), s, catalog.WriteOptions{})
		return err
	}
	update := func(s *catalog.Server) error {
		_, err := c.Update(t.Context(), o.as("root"), s, nil, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, create(granted("early", nil)), "")
	nodes.old = true
	err := create(granted("new", nil))
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "credential.oauth")
	wantRefusal(t, create(server("plain")), "")
	wantRefusal(t, update(granted("plain", nil)), "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantRefusal(t, update(granted("early", func(c *resource.OAuthCredential) { c.Scopes = []string{"read"} })), "") // it was there before
}
