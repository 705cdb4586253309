// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"log/slog"
	"net/http"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/discovery"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/introspect"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// inside is what nodes and control planes reach: the credential service, and introspection for nodes.
type inside struct {
	api    *credentialapi.API
	grants *grants.Grants
	view   func() *directory.View
	bans   *directory.Bans
	log    *slog.Logger
}

// handler returns it as HTTP. identify says who sent a request.
func (i *inside) handler(identify credentialapi.Identify) (http.Handler, error) {
	introspection, err := introspect.New(introspect.Config{Grants: i.grants, Log: i.log, Node: func(r *http.Request) (introspect.Scope, bool) {
		w, err := identify(r)
		return nodeScope{i.view, w.Region}, err == nil && w.Role == ident.RoleNode && !i.bans.Banned(w)
	}})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(discovery.IntrospectPath, introspection)
	mux.Handle("/", i.api.Handler(identify))
	return mux, nil
}

// nodeScope is the gateways of a node (D-11, KM-7).
type nodeScope struct {
	view   func() *directory.View
	region string
}

// Holds implements introspect.Scope.
func (s nodeScope) Holds(gateway string) bool {
	v := s.view()
	if v == nil {
		return false
	}
	g := v.Gateway(gateway)
	return g != nil && g.InRegion(s.region)
}
