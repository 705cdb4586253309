// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/edge/metadata"
	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// Issuer is the authorization server whose tokens gateways with OAuth or ID-JAG accept (issuer room).
type Issuer interface {
	// Issuer returns its identifier, empty as long as it is not known.
	Issuer() string
	// Metadata returns its metadata (RFC 8414) byte for byte, nil as long as it is not known.
	Metadata() []byte
}

// ReasonNoIssuer is the reason of a document that cannot be made yet.
const ReasonNoIssuer = "ISSUER_NOT_LOADED"

// documentMethods is what may be done with a document.
const documentMethods = "GET, HEAD, OPTIONS"

// elsewhere answers every path that is no gateway's. Clients guess OAuth endpoints on this host (AS-19); browsers read
// the answers, hence CORS.
func (x *request) elsewhere() {
	x.w.Header().Set("Access-Control-Allow-Origin", "*")
	path, isResource := strings.CutPrefix(x.r.URL.Path, metadata.Resource)
	switch {
	case x.r.URL.Path == metadata.Server && x.h.issuer != nil:
		x.document(x.serverMetadata)
	case isResource && (path == "" || path == "/"):
		x.notHere("Metadata is per gateway, at " + metadata.Resource + metadata.Gateways + "<gateway>.")
	case isResource:
		x.document(func() ([]byte, bool) { return x.resourceMetadata(path) })
	default:
		x.notHere("There is nothing at this address.")
	}
}

func (x *request) notHere(text string) { x.problem(http.StatusNotFound, "not_found", text, "") }

// document answers with what make returns, unless that has answered itself.
func (x *request) document(make func() ([]byte, bool)) {
	h := x.w.Header()
	switch x.r.Method {
	case http.MethodOptions:
		h.Set("Allow", documentMethods)
		h.Set("Access-Control-Allow-Methods", documentMethods)
		if asked := x.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		h.Set("Access-Control-Max-Age", "600")
		x.empty(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		if body, ok := make(); ok {
			x.status = http.StatusOK
			x.h.answers.Document(x.w, x.r.Method, body)
		}
	default:
		h.Set("Allow", documentMethods)
		x.problem(http.StatusMethodNotAllowed, "invalid_request", "This method is not allowed here.", "")
	}
}

// serverMetadata is the authserver's own document, held from the last good copy (AS-22).
func (x *request) serverMetadata() ([]byte, bool) {
	body := x.h.issuer.Metadata()
	if body == nil {
		x.noIssuer()
	}
	return body, body != nil
}

// resourceMetadata is the document of one gateway (RS-1). A gateway that accepts no token of an authorization server has none,
// as if it did not exist (RS-16).
func (x *request) resourceMetadata(path string) ([]byte, bool) {
	form, name, ok := metadata.Named(path)
	if !ok {
		x.notHere("There is nothing at this address.")
		return nil, false
	}
	s := x.h.view.Load()
	if s == nil {
		x.unavailable("This node has no configuration yet.", ReasonNoView)
		return nil, false
	}
	g := s.Gateway(name)
	if g == nil || !x.h.hasServers(s, g) {
		x.notHere("There is nothing at this address.")
		return nil, false
	}
	var issuers []string
	if g.AccessTokens() && x.h.issuer != nil {
		own := x.h.issuer.Issuer()
		if own == "" {
			x.noIssuer()
			return nil, false
		}
		issuers = append(issuers, own)
	}
	x.out = metadata.Append(x.out[:0], x.h.origin, form, append(issuers, s.Issuers(g)...), g)
	return x.out, true
}

// hasServers reports whether the gateway accepts tokens of an authorization server: ours, or an identity provider.
func (h *Handler) hasServers(s *view.Snapshot, g *view.Gateway) bool {
	return g.AccessTokens() && h.issuer != nil || s.Issuers(g) != nil
}

func (x *request) noIssuer() {
	x.unavailable("This node does not know the authorization server yet.", ReasonNoIssuer)
}

// metadataURL is where the client finds out how to get a token, in the form in which it named the gateway; empty if the
// gateway accepts no token of an authorization server.
func (x *request) metadataURL() string {
	if x.gateway == nil || !x.h.hasServers(x.snapshot, x.gateway) {
		return ""
	}
	return metadata.URL(x.h.origin, x.named)
}
