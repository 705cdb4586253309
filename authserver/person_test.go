// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestCallerOnly is UP-1, UP-2: whose tokens a credential is made of, and what is refused before any is looked for.
func TestCallerOnly(t *testing.T) {
	people := []*directory.User{
		{User: compile.User{UID: "uid-ada", Name: "ada@example.com"}},
		{User: compile.User{UID: "uid-eve", Name: "eve@example.com", Deactivated: true}},
	}
	own := directory.Connection{UID: "c1", Name: "ada-jira", Server: "jira", Owner: "ada@example.com"}
	shared, orphaned := own, own
	shared.Owner, orphaned.Owner = "", "eve@example.com"
	user := ident.Principal{Kind: ident.KindUser, UID: "uid-bob"}
	for _, tc := range []struct {
		name       string
		connection directory.Connection
		principal  ident.Principal
		version    string
		change     func(s *directory.Server, p *directory.Provider)
		person     string
		kind       fault.Kind
		reason     string
	}{
		{name: "the caller, with her own", connection: own, principal: user, person: "uid-bob"},
		{name: "the caller, with the organisation's", connection: shared, principal: user, person: "uid-bob"},
		{name: "a discovery of one's own", connection: own, person: "uid-ada"},
		{name: "a discovery of the organisation's", connection: shared, kind: fault.Precondition, reason: "CREDENTIAL_REQUIRES_USER"},
		{name: "a discovery of somebody deactivated", connection: orphaned, kind: fault.Precondition, reason: "CREDENTIAL_REQUIRES_USER"},
		{name: "a user without a uid", connection: own, principal: ident.Principal{Kind: ident.KindUser}, kind: fault.Precondition, reason: "CREDENTIAL_REQUIRES_USER"},
		{name: "a team", connection: own, principal: ident.Principal{Kind: ident.KindTeam, UID: "uid-ada"}, kind: fault.Precondition, reason: "CREDENTIAL_REQUIRES_USER"},
		{
			name: "a disabled provider", connection: own, principal: user, kind: fault.Precondition, reason: "UPSTREAM_PROVIDER_UNKNOWN",
			change: func(_ *directory.Server, p *directory.Provider) { p.Disabled = true },
		},
		{
			name: "another provider", connection: own, principal: user, kind: fault.Precondition, reason: "UPSTREAM_PROVIDER_UNKNOWN",
			change: func(s *directory.Server, _ *directory.Provider) { s.ProviderGive.Provider = "none" },
		},
		{name: "another way", connection: own, principal: user, version: "m_0", kind: fault.Unavailable, reason: "CREDENTIAL_VERSION_UNKNOWN"},
		{
			name: "a kind of a later release", connection: own, principal: user, kind: fault.Unavailable, reason: "CREDENTIAL_KIND_UNKNOWN",
			change: func(s *directory.Server, _ *directory.Provider) { s.ProviderGive = nil },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := directory.Server{UID: "s1", Name: "jira", Made: "m_1", ProviderGive: &directory.ProviderGive{Provider: "okta", Audience: "jira"}}
			p := directory.Provider{UID: "p1", Name: "okta"}
			if tc.change != nil {
				tc.change(&s, &p)
			}
			view := directory.NewView(directory.Content{
				Users: people, Servers: []*directory.Server{&s}, Providers: []*directory.Provider{&p}, Connections: []*directory.Connection{&tc.connection},
			})
			r := resolver{view: func() *directory.View { return view }}
			w := credentialapi.Wanted{Connection: "c1", Version: "m_1", Principal: tc.principal}
			if tc.version != "" {
				w.Version = tc.version
			}
			if tc.reason == "" {
				if got, err := r.person(w); err != nil || got != tc.person {
					t.Errorf("got %q, %v; want %q", got, err, tc.person)
				}
				return
			}
			_, _, err := r.Resolve(t.Context(), w)
			if f := fault.From(err); err == nil || f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("got %v, want %v %s", err, tc.kind, tc.reason)
			}
		})
	}
}
