// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"net/url"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Content is what a [View] is made of.
type Content struct {
	Origin    string // of the gateways, without a trailing slash
	Users     []*User
	Teams     []*compile.Team
	Gateways  []*Gateway
	Providers []*Provider
	Clients   []*Client
	Servers   []*Server
	// Connections are those whose server's kind of credential counts.
	Connections []*Connection
}

// NewView returns a view of the content, which must not be changed afterwards.
func NewView(c Content) *View {
	v := &View{
		Origin: c.Origin,
		users:  make(map[string]*User), names: make(map[string]*User), identities: make(map[compile.Identity]*User),
		teams: make(map[string]*compile.Team), gateways: make(map[string]*Gateway), slugs: make(map[string]*Gateway),
		providers: make(map[string]*Provider), clients: make(map[string]*Client), servers: make(map[string]*Server),
		connections: make(map[string]*Connection), installed: make(map[string]*Connection),
		pins: make(map[string]use), features: make(map[string][]string), uses: make(map[string]map[string]int),
	}
	for _, u := range c.Users {
		v.users[u.UID], v.names[u.Name] = u, u
		for _, i := range u.Identities {
			v.identities[i] = u
		}
	}
	for _, t := range c.Teams {
		v.teams[t.Name] = t
	}
	for _, g := range c.Gateways {
		v.gateways[g.UID], v.slugs[g.Name] = g, g
	}
	for _, p := range c.Providers {
		v.providers[p.Name] = p
	}
	for _, one := range c.Clients {
		v.clients[one.Name] = one
	}
	for _, s := range c.Servers {
		v.servers[s.Name] = s
	}
	for _, one := range c.Connections {
		v.installed[one.Name], v.connections[one.UID] = one, one
	}
	return v
}

// ParseResource returns the gateway that a resource indicator names (RFC 8707, AZ-6): scheme and host in any case, the
// default port or none, then byte for byte the path with the gateway's name or uid, and at most one slash after it.
func (v *View) ParseResource(text string) (*Gateway, bool) {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Opaque != "" || u.Host == "" || strings.ContainsAny(text, "?#") {
		return nil, false
	}
	if origin(u) != v.Origin {
		return nil, false
	}
	// The path as it was written: an escaped letter is another resource.
	_, rest, _ := strings.Cut(text, "://")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || !strings.HasPrefix(rest[slash:], prefix) {
		return nil, false
	}
	name := strings.TrimSuffix(rest[slash+len(prefix):], "/")
	if g := v.slugs[name]; g != nil {
		return g, true
	}
	g, ok := v.gateways[name]
	return g, ok
}

// origin returns scheme and host in lower case, without the scheme's default port.
func origin(u *url.URL) string {
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host
}

// canonical returns an origin as [View.ParseResource] compares it and as nodes name it (AZ-6), however a setting has it.
func canonical(text string) string {
	text = strings.TrimSuffix(text, "/")
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return origin(u)
	}
	return text
}
