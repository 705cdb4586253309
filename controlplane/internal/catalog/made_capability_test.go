// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// TestSignalsCapability is D-37: an authserver that would take no signals is named; nodes have no part in them.
func TestSignalsCapability(t *testing.T) {
	o := newOrg(t)
	fleet := &lacking{old: true}
	c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: fleet, Now: func() time.Time { return o.now }})
	signals := func(name string) error {
		p := provider(name, func(p *catalog.IdentityProvider) { p.SharedSignals = &resource.SharedSignals{} })
		_, err := c.Create(t.Context(), o.as("root"), p, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, signals("early"), "")
	fleet.oldAuthserver = true
	err := signals("new")
	wantRefusal(t, err, "precondition AUTHSERVER_LACKS_CAPABILITY", "auth-old")
	wantField(t, err, "shared_signals")
	_, err = c.Update(t.Context(), o.as("root"), provider("early", func(p *catalog.IdentityProvider) { p.DisplayName = "x" }), nil, catalog.WriteOptions{})
	wantRefusal(t, err, "") // it was there before
}

// TestMadeCapabilities is D-37: nodes and authservers that would not know the kind of credential are named.
func TestMadeCapabilities(t *testing.T) {
	for path, make := range map[string]func(string) *catalog.Server{
		"credential.oauth":                    func(name string) *catalog.Server { return granted(name, nil) },
		"credential.oauth_client_credentials": func(name string) *catalog.Server { return account(name) },
		"credential.token_exchange":           func(name string) *catalog.Server { return exchanges(name) },
		"credential.caller_idp_token":         func(name string) *catalog.Server { return given(name) },
	} {
		t.Run(path, func(t *testing.T) {
			o := newOrg(t)
			o.create(provider("okta", keeping))
			fleet := &lacking{}
			c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: fleet, Now: func() time.Time { return o.now }})
			create := func(s *catalog.Server) error {
				_, err := c.Create(t.Context(), o.as("root"), s, catalog.WriteOptions{})
				return err
			}
			wantRefusal(t, create(make("early")), "")
			fleet.old = true
			err := create(make("new"))
			wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "nodes cannot enforce it yet: node-old; update")
			wantField(t, err, path)
			fleet.old, fleet.oldAuthserver = false, true
			err = create(make("new"))
			wantRefusal(t, err, "precondition AUTHSERVER_LACKS_CAPABILITY", "authservers do not know it yet: auth-old; update")
			wantField(t, err, path)
			wantRefusal(t, create(server("plain")), "")
			_, err = c.Update(t.Context(), o.as("root"), &catalog.Server{Meta: named("early"), Description: "x"}, nil, catalog.WriteOptions{})
			wantRefusal(t, err, "") // it was there before
		})
	}
}
