// SPDX-License-Identifier: Apache-2.0

// Package metadata renders the documents by which OAuth clients find out where to log in: protected resource metadata of a
// gateway (RFC 9728, auth.md RS-1, RS-2), and where it stands. What it says of a gateway is in the form of the URL that the
// client used, byte for byte, because clients compare it (RFC 9728 §3.3).
//
// edge uses it. It must never know a request, a caller or a token.
package metadata

import (
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Paths of documents.
const (
	// Resource is the path of protected resource metadata (RFC 9728 §3.1); the path of the gateway follows.
	Resource = "/.well-known/oauth-protected-resource"
	// Server is the path of authorization server metadata (RFC 8414 §3), where clients of 2025-03-26 look (AS-22).
	Server = "/.well-known/oauth-authorization-server"
	// Gateways is what the path of every gateway begins with; its name or uid follows.
	Gateways = "/v1/mcp/"
)

// DefaultScope is what a client without a token is told to ask for: it lets it list and call (RS-3).
const DefaultScope = compile.ScopeMCP

// Named splits a path into gateway and the form it was named in: name is its name or uid, form that with the one trailing
// slash it may have (RS-17). It returns false for paths that are no gateway's.
func Named(path string) (form, name string, ok bool) {
	form, ok = strings.CutPrefix(path, Gateways)
	return form, strings.TrimSuffix(form, "/"), ok && form != ""
}

// URL returns where the metadata of a gateway stands that was named in a form.
func URL(origin, form string) string { return origin + Resource + Gateways + form }

// Append appends the metadata of a gateway that was named in a form. issuers are the identifiers of its authorization servers.
func Append(dst []byte, origin, form string, issuers []string, g *view.Gateway) []byte {
	dst = wire.AppendString(append(dst, `{"resource":`...), origin+Gateways+form)
	dst = appendList(append(dst, `,"authorization_servers":[`...), issuers)
	dst = appendList(append(dst, `],"scopes_supported":[`...), g.Scopes)
	dst = append(dst, `],"bearer_methods_supported":["header"],"resource_name":`...)
	title := g.DisplayName
	if title == "" {
		title = g.Name
	}
	return append(wire.AppendString(dst, title), '}')
}

func appendList(dst []byte, list []string) []byte {
	for i, text := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(dst, text)
	}
	return dst
}
