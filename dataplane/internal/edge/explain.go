// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"

	"github.com/penstockhq/penstock/dataplane/internal/edge/passed"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Serves returns why this node may not serve a gateway now, nil if it may: the fault that a request to it would end with before it is
// known who sends it.
func (h *Handler) Serves(g *view.Gateway) error {
	if f := h.skewed(); f != nil {
		return f
	}
	if f := h.outdated(g); f != nil {
		return f
	}
	return nil
}

// Scoped returns why the scopes of a principal do not cover a tools/call, by its name and raw arguments; nil if they do.
func (*Handler) Scoped(s *view.Snapshot, g *view.Gateway, p ident.Principal, name string, arguments []byte) error {
	t, name := calledAs(s, g, name, arguments)
	return covers(p.Scopes, g, t, name)
}

// Passes returns the headers of a request that its gateway hands to servers, and conditions see; h has them in canonical form.
func (*Handler) Passes(g *view.Gateway, h http.Header) http.Header {
	return passed.Of(h, g.PassedHeaders)
}
