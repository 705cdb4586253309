// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// uriPrefix and a server's name with ":" stand before a URI that would not lead to its server otherwise (M-66).
const uriPrefix = "pst:"

// routes says which server a resource URI of a gateway belongs to.
type routes struct {
	features []compile.Feature
	owners   map[string]*compile.Feature // by authority; nil if several servers have it
}

// joinResources finds who owns which authority and what templates are called (M-66).
func (g *Gateway) joinResources(server func(string) *Server) {
	var shown []compile.Feature
	for _, f := range g.Features {
		if f.Resources {
			shown = append(shown, f)
		}
	}
	if len(shown) == 0 {
		return
	}
	g.routes = &routes{features: shown, owners: make(map[string]*compile.Feature)}
	for i := range shown {
		s := server(shown[i].Server)
		if s == nil {
			continue
		}
		for _, authority := range s.Authorities {
			owner := &shown[i]
			if _, several := g.routes.owners[authority]; several {
				owner = nil
			}
			g.routes.owners[authority] = owner
		}
	}
	for _, f := range shown {
		s := server(f.Server)
		if s == nil {
			continue
		}
		for _, listed := range s.Templates {
			g.Templates = append(g.Templates, &compile.Template{
				URI: g.ExposeURI(f.Server, listed.Name), Upstream: listed.Name,
				Server: f.Server, Connection: f.Connection, AtCall: f.AtCall, Body: listed.Body,
			})
		}
	}
	slices.SortStableFunc(g.Templates, func(a, b *compile.Template) int { return strings.Compare(a.URI, b.URI) })
}

// ResourceFeatures returns the servers whose resources the gateway shows, sorted by name.
func (g *Gateway) ResourceFeatures() []compile.Feature {
	if g.routes == nil {
		return nil
	}
	return g.routes.features
}

// RouteURI returns the server that a resource's URI, or a template's, leads to, and what that server calls it. A URI
// leads to the server it names; else to the only server that shows resources, unless the gateway always names servers;
// else to the only owner of its authority. It returns false if it leads nowhere (M-67).
func (g *Gateway) RouteURI(uri string) (f *compile.Feature, upstreamURI string, ok bool) {
	if g.routes == nil {
		return nil, "", false
	}
	if named, found := strings.CutPrefix(uri, uriPrefix); found {
		name, rest, _ := strings.Cut(named, ":")
		f = g.routes.feature(name)
		return f, rest, f != nil && rest != ""
	}
	if f = g.routes.plain(uri); f == nil || g.AlwaysURIs {
		return nil, "", false
	}
	return f, uri, true
}

func (r *routes) feature(server string) *compile.Feature {
	i, ok := slices.BinarySearchFunc(r.features, server, func(f compile.Feature, name string) int {
		return strings.Compare(f.Server, name)
	})
	if !ok {
		return nil
	}
	return &r.features[i]
}

// plain returns the server that a URI without a server's name leads to, nil if there is none.
func (r *routes) plain(uri string) *compile.Feature {
	if len(r.features) == 1 {
		return &r.features[0]
	}
	authority, ok := compile.Authority(uri)
	if !ok {
		return nil
	}
	return r.owners[authority]
}

// ExposeURI returns what clients call a URI of a server, or a template: the URI itself if [Gateway.RouteURI] leads from
// it to that server, or if it is a link that clients follow themselves: http or https that no server owns (M-66).
func (g *Gateway) ExposeURI(server, upstreamURI string) string {
	if g.routes == nil || upstreamURI == "" {
		return upstreamURI // nothing can be read here, so nothing can be mistaken
	}
	if f, plain, ok := g.RouteURI(upstreamURI); ok && f.Server == server && plain == upstreamURI {
		return upstreamURI
	}
	if authority, ok := compile.Authority(upstreamURI); ok && !g.routes.owned(authority) && isLink(authority) {
		return upstreamURI
	}
	return uriPrefix + server + ":" + upstreamURI
}

func (r *routes) owned(authority string) bool {
	_, ok := r.owners[authority]
	return ok
}

func isLink(authority string) bool {
	return strings.HasPrefix(authority, "http://") || strings.HasPrefix(authority, "https://")
}
