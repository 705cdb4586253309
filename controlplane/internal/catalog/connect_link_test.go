// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// TestCreateConnectLink: who gets a link for which server (G-18), and what is said to everybody else. It makes no revision.
func TestCreateConnectLink(t *testing.T) {
	o := madeOrg(t)
	local := stdioServer("local")
	local.Credential = &resource.ServerCredential{StaticEnv: &struct{}{}}
	grant := server("grant")
	grant.Credential = &resource.ServerCredential{OAuth: &resource.OAuthCredential{}}
	team := secretServer("team")
	team.Visibility = seenBy("eng")
	own := secretServer("own")
	own.Visibility = seenBy("bob")
	bare := server("bare")
	bare.Credential = &resource.ServerCredential{None: &struct{}{}}
	o.create(server("plain"), bare, local, grant, secretServer("keyed"), team, own)
	for _, tc := range []struct{ name, who, server, want, text string }{
		{"headers", "bob", "keyed", "", ""},
		{"a grant", "bob", "grant", "", ""},
		{"a grant, an ADMIN", "root", "grant", "", ""},
		{"an exchange", "bob", "exchanges", "", ""},
		{"the caller's token", "eve", "given", "", ""},
		{"a team's, a member", "ada", "team", "", ""},
		{"a person's, the person", "bob", "own", "", ""},

		{"no credential", "bob", "plain", "precondition SERVER_NOT_CONNECTABLE", `People give no credential for the server "plain": it needs none.`},
		{"no credential, said so", "bob", "bare", "precondition SERVER_NOT_CONNECTABLE", `the server "bare": it needs none.`},
		{"environment variables", "bob", "local", "precondition SERVER_NOT_CONNECTABLE", "it gets environment variables, which are set as secret_env of a connection."},
		{"a service account", "root", "account", "precondition SERVER_NOT_CONNECTABLE", "everybody calls it with the tokens of one client, whose client_secret is set on the server."},
		{"a team's, seen by an EDITOR", "edna", "team", "denied CONNECT_NOT_ALLOWED", `You may not connect "team": it is not visible to you. Ask an administrator.`},
		{"a team's, seen by an ADMIN", "root", "team", "denied CONNECT_NOT_ALLOWED", `You may not connect "team"`},
		{"a person's, seen by an ADMIN", "root", "own", "denied CONNECT_NOT_ALLOWED", `You may not connect "own"`},
		{"a team's, not seen", "eve", "team", "not_found RESOURCE_NOT_FOUND", ""},
		{"none", "root", "nothing", "not_found RESOURCE_NOT_FOUND", ""},
		{"nobody's token", "system", "keyed", "denied CONNECT_REQUIRES_USER", "Only a person can connect a server: use a token for the admin API that is a user's."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, caller := o.head(), o.as(tc.who)
			o.vault.links = nil
			link, err := o.CreateConnectLink(t.Context(), caller, tc.server)
			wantRefusal(t, err, tc.want, tc.text)
			var asked []string
			if tc.want == "" {
				asked = []string{caller.UserUID + " " + tc.server}
				if link.URL != "https://auth.example.com/connect/"+tc.server || link.ExpireTime.IsZero() {
					t.Errorf("got %+v", link)
				}
			}
			diff(t, "links", asked, o.vault.links)
			if o.head() != before {
				t.Error("a link made a revision")
			}
		})
	}
	o.vault.fail = errDown
	if link, err := o.CreateConnectLink(t.Context(), o.as("bob"), "keyed"); err == nil || link.URL != "" {
		t.Errorf("the authserver is down: got %+v, %v", link, err)
	}
	without := catalog.New(catalog.Config{Store: o.store})
	_, err := without.CreateConnectLink(t.Context(), o.as("bob"), "keyed")
	wantRefusal(t, err, "precondition SECRETS_NOT_CONFIGURED", "There is no authserver to keep credentials; start one.")
}
