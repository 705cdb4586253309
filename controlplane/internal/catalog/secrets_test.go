// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
)

const canary = "s3cret-canary"

func withHeaders(c *catalog.Connection, headers map[string]string) *catalog.Connection {
	c.SecretHeaders = headers
	return c
}

// Secrets go to the authserver and are never stored or shown; the connection refers to a version.
func TestSecrets(t *testing.T) {
	o := newOrg(t)
	o.create(secretServer("s"))
	w, err := o.Create(t.Context(), o.as("bob"), withHeaders(connection("c", "s", ownedBy("bob")), map[string]string{"X-B": canary, "Authorization": canary}), catalog.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := w.Object.(*catalog.Connection)
	diff(t, "names", []string{"Authorization", "X-B"}, c.SecretNames)
	if c.CredentialVersion != "v1" || len(c.SecretHeaders) > 0 || o.vault.secrets[c.UID+"/v1"]["X-B"] != canary {
		t.Errorf("created %+v; the vault has %v", c, o.vault.secrets)
	}
	// Another change keeps them; writing them replaces all.
	w, err = o.Update(t.Context(), o.as("bob"), &catalog.Connection{Meta: catalog.Meta{Name: "c", Labels: map[string]string{"a": "b"}}}, []string{"*"}, catalog.WriteOptions{})
	if err != nil || w.Object.(*catalog.Connection).CredentialVersion != "v1" || o.vault.size() != 1 {
		t.Errorf("%+v, %v", w.Object, err)
	}
	w, err = o.Update(t.Context(), o.as("bob"), withHeaders(connection("c", "", nil), map[string]string{"X-C": canary}), nil, catalog.WriteOptions{})
	if err != nil || !w.Changed {
		t.Fatalf("%+v, %v", w, err)
	}
	c = w.Object.(*catalog.Connection)
	diff(t, "names after a rotation", []string{"X-C"}, c.SecretNames)
	if c.CredentialVersion != "v2" {
		t.Errorf("version after a rotation is %q", c.CredentialVersion)
	}
	out, err := apply(o, "root", catalog.ApplyOptions{}, withHeaders(connection("c", "s", ownedBy("bob")), map[string]string{"X-C": canary}))
	if err != nil || out.Items[0].Action != catalog.ActionUpdated {
		t.Errorf("%+v, %v", out, err)
	}
	diff(t, "changed fields", []string{"labels", "secret_headers"}, out.Items[0].ChangedFields)
	var dump strings.Builder
	_, err = o.store.Snapshot(t.Context(), func(r *catalog.Record) error {
		dump.Write(r.Body)
		return nil
	})
	if err != nil || strings.Contains(dump.String(), canary) {
		t.Errorf("the store has a secret: %v", err)
	}
}

// What is refused hands no secret out, and what fails keeps the state.
func TestSecretsRefused(t *testing.T) {
	local := func(env map[string]string) *catalog.Connection {
		return &catalog.Connection{Meta: named("c"), Server: "local", Owner: ownedBy("bob"), SecretEnv: env}
	}
	headers := func(server string, h map[string]string) *catalog.Connection {
		return withHeaders(connection("c", server, ownedBy("bob")), h)
	}
	for _, tc := range []struct {
		name, who, want, field string
		connection             *catalog.Connection
	}{
		{"headers of a server without", "bob", "invalid SECRET_KIND_MISMATCH", "secret_headers", headers("plain", map[string]string{"X": "y"})},
		{"headers of a stdio server", "bob", "invalid SECRET_KIND_MISMATCH", "secret_headers", headers("local", map[string]string{"X": "y"})},
		{"environment of an HTTP server", "bob", "invalid SECRET_KIND_MISMATCH", "secret_env", &catalog.Connection{Meta: named("c"), Server: "s", Owner: ownedBy("bob"), SecretEnv: map[string]string{"X": "y"}}},
		{"line break", "bob", "invalid INVALID_FIELD", "secret_headers.X", headers("s", map[string]string{"X": "a\nb"})},
		{"no header name", "bob", "invalid INVALID_FIELD", "secret_headers.a b", headers("s", map[string]string{"a b": "c"})},
		{"host", "bob", "invalid INVALID_FIELD", "secret_headers.Host", headers("s", map[string]string{"Host": "c"})},
		{"mcp-*", "bob", "invalid INVALID_FIELD", "secret_headers.mcp-session-id", headers("s", map[string]string{"mcp-session-id": "c"})},
		{"empty", "bob", "invalid INVALID_FIELD", "secret_headers.X", headers("s", map[string]string{"X": ""})},
		{"cookie is a credential", "bob", "", "", headers("s", map[string]string{"Cookie": "a=b"})},
		{"variable", "bob", "", "", local(map[string]string{"API_KEY": "x"})},
		{"no variable name", "bob", "invalid INVALID_FIELD", "secret_env.1A", local(map[string]string{"1A": "x"})},
		{"variable of the server", "bob", "invalid SECRET_NAME_REFUSED", "secret_env.MODE", local(map[string]string{"MODE": "rw"})},
		{"variable that loads code", "bob", "denied SECRET_NAME_REFUSED", "secret_env.LD_PRELOAD", local(map[string]string{"LD_PRELOAD": "/tmp/x.so"})},
		{"variable that loads code, other case", "bob", "denied SECRET_NAME_REFUSED", "secret_env.node_options", local(map[string]string{"node_options": "-r x"})},
		{"variable that loads code, by an ADMIN", "root", "", "", local(map[string]string{"NODE_OPTIONS": "--max-old-space-size=99"})},
		{"unknown server", "bob", "invalid UNKNOWN_REFERENCE", "server", headers("nothing", map[string]string{"X": "y"})},
		{"unknown owner", "root", "invalid UNKNOWN_REFERENCE", "owner.user", withHeaders(connection("c", "s", &resource.Owner{User: "x@example.com"}), map[string]string{"X": "y"})},
		{"owner is a service account", "root", "invalid INVALID_FIELD", "owner.service_account", connection("c", "s", &resource.Owner{ServiceAccount: "ci"})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOrg(t)
			o.create(server("plain"), secretServer("s"), stdioServer("local"))
			_, err := o.Create(t.Context(), o.as(tc.who), tc.connection, catalog.WriteOptions{})
			wantRefusal(t, err, tc.want)
			wantField(t, err, tc.field)
			if stored := o.vault.size() > 0; stored != (tc.want == "") {
				t.Errorf("the vault has secrets: %v", stored)
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Error("the error has a secret")
			}
		})
	}
}

func TestSecretsVault(t *testing.T) {
	o := newOrg(t)
	o.create(secretServer("s"))
	c := withHeaders(connection("c", "s", everybody()), map[string]string{"X": canary})
	if _, err := o.Create(t.Context(), o.as("edna"), c, catalog.WriteOptions{ValidateOnly: true}); err != nil || o.vault.size() > 0 {
		t.Errorf("validate only stored %d secrets, %v", o.vault.size(), err)
	}
	o.vault.fail = errDown
	before := o.head()
	_, err := apply(o, "root", catalog.ApplyOptions{}, c, server("other"))
	if !errors.Is(err, errDown) || o.head() != before {
		t.Errorf("with the vault down: %v, head %d after %d", err, o.head(), before)
	}
	o.vault.fail = nil
	o.create(c)
	// Deleting a connection deletes its secrets, if not at once then by the sweep.
	o.vault.fail = errDown
	if _, err := o.Delete(t.Context(), o.as("edna"), catalog.KindConnection, "c", "", catalog.WriteOptions{}); err != nil {
		t.Errorf("with the vault down, deleting: %v", err)
	}
	if err := o.SweepSecrets(t.Context()); !errors.Is(err, errDown) || o.vault.size() != 1 {
		t.Errorf("sweep: %v; %d secrets", err, o.vault.size())
	}
	o.vault.fail = nil
	for range 2 {
		if err := o.SweepSecrets(t.Context()); err != nil || o.vault.size() != 0 {
			t.Errorf("sweep: %v; %d secrets", err, o.vault.size())
		}
	}
	without := catalog.New(catalog.Config{Store: memstore.New(nil)})
	sys := catalog.Caller{System: true}
	if _, err := without.Create(t.Context(), sys, secretServer("s"), catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = without.Create(t.Context(), sys, c, catalog.WriteOptions{})
	wantRefusal(t, err, "precondition SECRETS_NOT_CONFIGURED")
}

// A connection says that its credential is missing.
func TestNeedsAuth(t *testing.T) {
	o := newOrg(t)
	o.create(secretServer("s"), connection("c", "s", everybody()))
	if got := get[*catalog.Connection](o, catalog.KindConnection, "c").Status; got == nil || got.State != resource.ConnectionNeedsAuth {
		t.Errorf("status is %+v", got)
	}
}
