// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestMadeClientSecret: the secret of a client goes to the authserver and is stored nowhere else; the reference to it is nobody's to
// write, and stays with the client at the place that it was given for. What would be left without one is refused.
func TestMadeClientSecret(t *testing.T) {
	type (
		cc = resource.OAuthClientCredentials
		tx = resource.TokenExchange
	)
	const gone = "invalid INVALID_FIELD"
	version := func(s *catalog.Server) string {
		if c := s.Credential.TokenExchange; c != nil {
			return c.SecretVersion
		}
		return s.Credential.OAuthClientCredentials.SecretVersion
	}
	acc := func(f func(o *cc)) *catalog.Server {
		return account("crm", func(o *cc) {
			o.ClientSecret = ""
			f(o)
		})
	}
	client := func(o *tx) { o.ClientID, o.Authentication = "penstock", resource.ClientAuthenticationSecret }
	exc := func(f func(o *tx)) *catalog.Server {
		return exchanges("crm", func(o *tx) {
			client(o)
			f(o)
		})
	}
	elsewhere := func(s *catalog.Server) *catalog.Server {
		s.StreamableHTTP.URL = "https://evil.example/mcp"
		return s
	}
	atIssuer := func(o *cc) { o.Issuer = "https://as.example" }
	firstAccount := account("crm")
	firstExchange := exc(func(o *tx) { o.ClientSecret = canary })
	for _, tc := range []struct {
		name        string
		first, then *catalog.Server
		want        string // refusal; empty: the reference stays
	}{
		{"scopes", firstAccount, acc(func(o *cc) { o.Scopes = []string{"read"} }), ""},
		{"forged reference", firstAccount, acc(func(o *cc) { o.SecretVersion = "v_forged" }), ""},
		{"another client", firstAccount, acc(func(o *cc) { o.ClientID = "other" }), gone},
		{"another issuer", firstAccount, acc(func(o *cc) { o.Issuer = "https://evil.example" }), gone},
		{"another endpoint", firstAccount, acc(func(o *cc) { o.TokenEndpoint = "https://evil.example/token" }), gone},
		{"secret as a key", firstAccount, acc(func(o *cc) { o.Authentication = resource.ClientAuthenticationPrivateKeyJWT }), gone},
		{"another URL, which says where", firstAccount, elsewhere(acc(func(*cc) {})), gone},
		{"another URL, and the issuer says where", account("crm", atIssuer), elsewhere(acc(atIssuer)), ""},
		{"another kind", firstAccount, exc(func(*tx) {}), gone},
		{"exchange: scopes", firstExchange, exc(func(o *tx) { o.Scopes = []string{"read"} }), ""},
		{"exchange: another URL", firstExchange, elsewhere(exc(func(*tx) {})), ""},
		{"exchange: another client", firstExchange, exc(func(o *tx) { o.ClientID = "other" }), gone},
		{"exchange: another provider", firstExchange, exc(func(o *tx) { o.IdentityProvider = "corp" }), gone},
		{"exchange: another endpoint", firstExchange, exc(func(o *tx) { o.TokenEndpoint = "https://evil.example/token" }), gone},
		{"exchange: another server's", firstExchange, exc(func(o *tx) { o.Grant, o.Issuer = resource.ExchangeGrantIdentityAssertion, "https://evil.example" }), gone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(provider("okta", keeping), provider("corp", keeping), tc.first)
			for _, op := range o.last().Ops {
				if op.Record != nil && strings.Contains(string(op.Record.Body), canary) {
					t.Errorf("it is stored: %s", op.Record.Body)
				}
			}
			before := get[*catalog.Server](o, catalog.KindServer, "crm")
			if v := version(before); v != "v1" || o.vault.secrets[before.UID+"/"+v]["client_secret"] != canary {
				t.Fatalf("the reference is %q; the vault has %v", v, o.vault.secrets)
			}
			_, err := o.Update(t.Context(), o.as("root"), tc.then, nil, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			if tc.want != "" {
				path := "credential.oauth_client_credentials.client_secret"
				if tc.then.Credential.TokenExchange != nil {
					path = "credential.token_exchange.client_secret"
				}
				wantField(t, err, path)
				return
			}
			if got := version(get[*catalog.Server](o, catalog.KindServer, "crm")); got != "v1" {
				t.Errorf("the reference is %q", got)
			}
		})
	}
	o := newOrg(t)
	o.create(account("crm"))
	out, err := apply(o, "root", catalog.ApplyOptions{}, acc(func(o *cc) { o.SecretVersion = "v_forged" }))
	if err != nil || out.Items[0].Action != catalog.ActionUnchanged {
		t.Errorf("without a secret: %+v, %v", out, err)
	}
	s := acc(func(*cc) {})
	s.Credential.Version = "m_forged" // of the streams only
	if out, err = apply(o, "root", catalog.ApplyOptions{}, s); err != nil || out.Items[0].Action != catalog.ActionUnchanged {
		t.Errorf("with a version: %+v, %v", out, err)
	}
}

// TestPollToken: it is kept apart from the provider's client_secret, each stays while the other is rotated, and both go with the
// provider. The reference stays with the address.
func TestPollToken(t *testing.T) {
	o := newOrg(t)
	with := func(secret, token, endpoint string) *catalog.IdentityProvider {
		return provider("okta", func(p *catalog.IdentityProvider) {
			p.ClientSecret = secret
			p.SharedSignals = &resource.SharedSignals{PollEndpoint: endpoint, PollToken: token, PollTokenVersion: "v_forged"}
		})
	}
	const here, there = "https://okta.example/poll", "https://evil.example/poll"
	for i, step := range []struct {
		put             *catalog.IdentityProvider
		client, signals string // references
	}{
		{with("", "", here), "", ""},
		{with(canary+"-client", canary+"-poll", here), "v1", "v2"},
		{with("", "", here), "v1", "v2"},
		{with(canary+"-client", "", here), "v3", "v2"},
		{with("", canary+"-poll", here), "v3", "v4"},
		{with("", "", there), "v3", ""},
		{with("", "", here), "v3", ""},
		{with("", canary+"-poll", there), "v3", "v5"},
	} {
		if _, err := apply(o, "root", catalog.ApplyOptions{}, step.put); err != nil {
			t.Fatal(err)
		}
		for _, op := range o.last().Ops {
			if op.Record != nil && strings.Contains(string(op.Record.Body), canary) {
				t.Errorf("step %d: it is stored: %s", i, op.Record.Body)
			}
		}
		got := get[*catalog.IdentityProvider](o, catalog.KindIdentityProvider, "okta")
		if got.SecretVersion != step.client || got.SharedSignals.PollTokenVersion != step.signals {
			t.Errorf("step %d: the references are %q and %q", i, got.SecretVersion, got.SharedSignals.PollTokenVersion)
		}
		if step.client != "" && o.vault.secrets[got.UID+"/"+step.client]["client_secret"] != canary+"-client" {
			t.Errorf("step %d: the client_secret is not kept: %v", i, o.vault.secrets)
		}
		if step.signals != "" && o.vault.secrets[got.UID+"/signals/"+step.signals]["client_secret"] != canary+"-poll" {
			t.Errorf("step %d: the poll_token is not kept: %v", i, o.vault.secrets)
		}
	}
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindIdentityProvider, "okta", "", catalog.WriteOptions{}); err != nil || o.vault.size() != 0 {
		t.Errorf("after the deletion %d secrets are left, %v", o.vault.size(), err)
	}
}

// TestMadeConnections: whose a connection may be, and what it holds, where Penstock makes the credential.
func TestMadeConnections(t *testing.T) {
	headers := func(c *catalog.Connection) *catalog.Connection {
		return withHeaders(c, map[string]string{"Authorization": canary})
	}
	env := connection("c", "given", everybody())
	env.SecretEnv = map[string]string{"TOKEN": canary}
	for _, tc := range []struct {
		name, who, want, field string
		connection             *catalog.Connection
	}{
		{"account, of the organisation", "edna", "", "", connection("c", "account", everybody())},
		{"account, of a team", "ada", "", "", connection("c", "account", ownedBy("eng"))},
		{"account, of a person", "bob", "invalid SERVICE_ACCOUNT_OWNER", "owner.user", connection("c", "account", ownedBy("bob"))},
		{"account with a secret", "edna", "invalid SECRET_KIND_MISMATCH", "secret_headers", headers(connection("c", "account", everybody()))},
		{"exchange, of a person", "bob", "", "", connection("c", "exchanges", ownedBy("bob"))},
		{"exchange, of the organisation", "edna", "", "", connection("c", "exchanges", everybody())},
		{"exchange with a secret", "bob", "invalid SECRET_KIND_MISMATCH", "secret_headers", headers(connection("c", "exchanges", ownedBy("bob")))},
		{"caller's token, of a person", "bob", "", "", connection("c", "given", ownedBy("bob"))},
		{"caller's token with a secret", "edna", "invalid SECRET_KIND_MISMATCH", "secret_env", env},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := madeOrg(t)
			_, err := o.Create(t.Context(), o.as(tc.who), tc.connection, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if err == nil {
				if got := get[*catalog.Connection](o, catalog.KindConnection, "c"); got.Status != nil {
					t.Errorf("the status is %+v before a call", got.Status) // and not NEEDS_AUTH
				}
			}
		})
	}
	o := madeOrg(t)
	in := catalog.Connecting{UserUID: get[*catalog.User](o, catalog.KindUser, mail("bob")).UID, Server: "given", CredentialVersion: "v1"}
	_, err := o.ConnectServer(t.Context(), in)
	wantRefusal(t, err, "invalid SECRET_KIND_MISMATCH")
	in.CredentialVersion = ""
	if made, err := o.ConnectServer(t.Context(), in); err != nil || made.ConnectionUID == "" {
		t.Errorf("an installation of bob's own: %+v, %v", made, err)
	}
	in.Server = "account"
	_, err = o.ConnectServer(t.Context(), in)
	wantRefusal(t, err, "invalid SERVICE_ACCOUNT_OWNER")

	// A server does not become a service account under people's own connections.
	o.create(secretServer("old"), connection("bobs", "old", ownedBy("bob")), connection("ours", "old", everybody()))
	_, err = o.Update(t.Context(), o.as("edna"), account("old"), nil, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid SERVICE_ACCOUNT_OWNER", "bobs")
	wantField(t, err, "credential.oauth_client_credentials")
	if _, err := o.Delete(t.Context(), o.as("root"), catalog.KindConnection, "bobs", "", catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Update(t.Context(), o.as("edna"), account("old"), nil, catalog.WriteOptions{}); err != nil {
		t.Errorf("with the organisation's only: %v", err)
	}
}

// madeOrg has a server of each kind of credential that Penstock makes: account, exchanges and given.
func madeOrg(t *testing.T) *org {
	t.Helper()
	o := newOrg(t)
	o.create(provider("okta", keeping), account("account"), exchanges("exchanges"), given("given"))
	return o
}

// TestWhoMayMakeThem: an EDITOR may say which service account a server is called as, and never where tokens of callers go.
func TestWhoMayMakeThem(t *testing.T) {
	o := madeOrg(t)
	o.create(server("plain"))
	create := func(who string, s *catalog.Server) error {
		_, err := o.Create(t.Context(), o.as(who), s, catalog.WriteOptions{})
		return err
	}
	update := func(who string, s *catalog.Server) error {
		_, err := o.Update(t.Context(), o.as(who), s, nil, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, create("edna", account("new")), "")
	wantRefusal(t, create("edna", exchanges("x")), "denied ROLE_REQUIRED")
	wantRefusal(t, create("edna", given("x")), "denied ROLE_REQUIRED")
	wantRefusal(t, update("edna", exchanges("plain")), "denied ROLE_REQUIRED")
	moved := &catalog.Server{Meta: named("exchanges"), StreamableHTTP: &resource.StreamableHTTP{URL: "https://evil.example/mcp"}}
	wantRefusal(t, update("edna", moved), "denied ROLE_REQUIRED")
	wantRefusal(t, update("root", moved), "")
}

// TestProviderInUse: the provider is not deleted under a server; switched off under it, a condition says so. A server that comes back
// needs it again.
func TestProviderInUse(t *testing.T) {
	o := madeOrg(t)
	o.discover("exchanges", tool("read"))
	o.create(connection("c", "exchanges", everybody()), gateway("gw", seenBy(), pin("exchanges/read", "c")))
	resolvable := func() string {
		return conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]
	}
	drop := func(kind catalog.Kind, name string) error {
		_, err := o.Delete(t.Context(), o.as("root"), kind, name, "", catalog.WriteOptions{})
		return err
	}
	if got := resolvable(); got != "" {
		t.Errorf("at first: %q", got)
	}
	wantRefusal(t, drop(catalog.KindIdentityProvider, "okta"), "precondition RESOURCE_IN_USE", `server "exchanges"`, `server "given"`)
	for _, off := range []struct {
		change func(*catalog.IdentityProvider)
		want   string
	}{
		{func(p *catalog.IdentityProvider) { p.TokenExchange = nil }, "ProvidersOff"},
		{func(p *catalog.IdentityProvider) { p.Disabled = true }, "ProvidersOff"},
		{func(*catalog.IdentityProvider) {}, ""},
	} {
		if _, err := o.Update(t.Context(), o.as("root"), provider("okta", keeping, off.change), []string{"*"}, catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := resolvable(); got != off.want {
			t.Errorf("got %q, want %q", got, off.want)
		}
		if _, err := o.Update(t.Context(), o.as("root"), &catalog.Server{Meta: named("exchanges"), Description: off.want}, nil, catalog.WriteOptions{}); err != nil {
			t.Errorf("another change of the server: %v", err)
		}
	}
	wantRefusal(t, drop(catalog.KindServer, "given"), "")
	wantRefusal(t, drop(catalog.KindGateway, "gw"), "")
	wantRefusal(t, drop(catalog.KindConnection, "c"), "")
	wantRefusal(t, drop(catalog.KindServer, "exchanges"), "")
	wantRefusal(t, drop(catalog.KindIdentityProvider, "okta"), "")
	_, err := o.Undelete(t.Context(), o.as("root"), catalog.KindServer, "exchanges", catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_REFERENCE")
	// All in one apply, whatever the order of the manifest.
	if _, err := apply(o, "root", catalog.ApplyOptions{}, given("given"), provider("okta", keeping)); err != nil {
		t.Error(err)
	}
	// And pruned in one, in the order in which they depend on each other.
	if _, err := apply(o, "root", catalog.ApplyOptions{Prune: true}, &catalog.User{Meta: named(mail("root")), Role: catalog.RoleAdmin}); err != nil {
		t.Error(err)
	}
}

// TestRollbackOfServiceAccount: a server that comes back has no secret; it is not refused for that, and its conditions say so.
func TestRollbackOfServiceAccount(t *testing.T) {
	o := newOrg(t)
	o.create(account("crm"))
	o.discover("crm", tool("read"))
	o.create(connection("c", "crm", everybody()), gateway("gw", seenBy(), pin("crm/read", "c")))
	whole := o.head()
	for _, key := range []catalog.Key{{Kind: catalog.KindGateway, Name: "gw"}, {Kind: catalog.KindConnection, Name: "c"}, {Kind: catalog.KindServer, Name: "crm"}} {
		if _, err := o.Delete(t.Context(), o.as("root"), key.Kind, key.Name, "", catalog.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Rollback(t.Context(), o.as("root"), whole, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if v := get[*catalog.Server](o, catalog.KindServer, "crm").Credential.OAuthClientCredentials.SecretVersion; v != "" {
		t.Errorf("it has the secret %q", v)
	}
	if got := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]; got != "ClientSecretMissing" {
		t.Errorf("the condition is %q", got)
	}
	if got := get[*catalog.Connection](o, catalog.KindConnection, "c").Status; got == nil || got.State != resource.ConnectionNeedsAuth {
		t.Errorf("the status of the connection is %+v", got)
	}
	_, _, err := o.DiscoveryTarget(t.Context(), o.as("root"), "crm", "c")
	wantRefusal(t, err, "precondition CREDENTIAL_MISSING", "client_secret")
	if _, err := o.Update(t.Context(), o.as("root"), account("crm"), nil, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]; got != "" {
		t.Errorf("with a new secret the condition is %q", got)
	}
}

// TestMadeDiscovery: whose connection lists the tools where Penstock makes the credential.
func TestMadeDiscovery(t *testing.T) {
	for _, tc := range []struct {
		name, server, ask, want, refuse string
		connections                     []catalog.Object
	}{
		{"account, the organisation's", "account", "", "b", "", []catalog.Object{connection("a", "account", ownedBy("eng")), connection("b", "account", everybody())}},
		{"account, none", "account", "", "", "precondition CREDENTIAL_MISSING", nil},
		{"exchange, a person's", "exchanges", "", "b", "", []catalog.Object{connection("a", "exchanges", everybody()), connection("b", "exchanges", ownedBy("bob"))}},
		{"exchange, of the person who asks", "exchanges", "", "r", "", []catalog.Object{connection("a", "exchanges", ownedBy("bob")), connection("r", "exchanges", ownedBy("root"))}},
		{"exchange, nobody's", "exchanges", "", "", "precondition DISCOVERY_NEEDS_PERSON", []catalog.Object{connection("a", "exchanges", everybody())}},
		{"exchange, nobody's asked for", "exchanges", "a", "", "precondition DISCOVERY_NEEDS_PERSON", []catalog.Object{connection("a", "exchanges", ownedBy("eng")), connection("b", "exchanges", ownedBy("bob"))}},
		{"caller's token, asked for", "given", "b", "b", "", []catalog.Object{connection("a", "given", ownedBy("ada")), connection("b", "given", ownedBy("bob"))}},
		{"caller's token, none", "given", "", "", "precondition DISCOVERY_NEEDS_PERSON", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := madeOrg(t)
			o.create(tc.connections...)
			_, c, err := o.DiscoveryTarget(t.Context(), o.as("root"), tc.server, tc.ask)
			wantRefusal(t, err, tc.refuse)
			if named := err != nil && strings.Contains(fault.From(err).Public, ": penstock server connect "+tc.server+"."); named != (tc.refuse == "precondition DISCOVERY_NEEDS_PERSON") {
				t.Errorf("the command to connect is named: %v: %v", named, err)
			}
			if err == nil && c.Name != tc.want {
				t.Errorf("connection %q; want %q", c.Name, tc.want)
			}
		})
	}
}

// TestMadeResolvedAtTheCall: a service account that nobody installed is nobody's to connect; the others are.
func TestMadeResolvedAtTheCall(t *testing.T) {
	for name, want := range map[string]string{"account": "NobodyConnected", "exchanges": "", "given": ""} {
		o := madeOrg(t)
		o.discover(name, tool("read"))
		o.create(gateway("gw", seenBy(), atCall(name+"/read")))
		if got := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		o.create(connection("c", name, everybody()))
		if got := conditions(get[*catalog.Gateway](o, catalog.KindGateway, "gw"))["CredentialsResolvable"]; got != "" {
			t.Errorf("%s, installed: got %q", name, got)
		}
	}
}
