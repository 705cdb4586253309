// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// defaultHeader is what people are asked for where a server names no header.
const defaultHeader = "Authorization"

// Server is a server that people give a credential for themselves, as far as that is concerned.
type Server struct {
	UID, Name, DisplayName string
	URL                    string   // of the MCP endpoint
	Headers                []string // names of the secret headers that people are asked for; empty: none
	OAuth                  *OAuth   // how people give grants; nil: they do not
}

// OAuth is how people give grants for a server at its authorization server.
type OAuth struct {
	Issuer                               string // empty: what the server's metadata name
	ClientID                             string // empty: Penstock finds a client by itself
	SecretVersion                        string // of the client's secret in the vault, under the server's uid; empty: none
	Scopes                               []string
	NoResource                           bool   // the parameter resource is left out
	AuthorizationEndpoint, TokenEndpoint string // empty: discovered
}

// Title returns the display name, or the name where there is none.
func (s *Server) Title() string {
	if s.DisplayName != "" {
		return s.DisplayName
	}
	return s.Name
}

// Connectable reports whether a person can give a credential for the server on a page.
func (s *Server) Connectable() bool { return len(s.Headers) > 0 || s.OAuth != nil }

// Server returns a server by name, nil if there is none that the authserver has a part in.
func (v *View) Server(name string) *Server { return v.servers[name] }

// Servers returns the servers that the authserver has a part in, by name.
func (v *View) Servers() []*Server {
	return slices.SortedFunc(maps.Values(v.servers), func(a, b *Server) int { return strings.Compare(a.Name, b.Name) })
}

// Connection returns a connection by uid, nil if there is none.
func (v *View) Connection(uid string) *Connection { return v.connections[uid] }

func makeServer(r *resourcev1.Server) *Server {
	s := &Server{UID: r.GetUid(), Name: r.GetName(), DisplayName: r.GetDisplayName(), URL: r.GetStreamableHttp().GetUrl()}
	if s.URL == "" {
		s.URL = r.GetSse().GetUrl()
	}
	if h := r.GetCredential().GetStaticHeaders(); h != nil {
		if s.Headers = h.GetNames(); len(s.Headers) == 0 {
			s.Headers = []string{defaultHeader}
		}
	}
	if o := r.GetCredential().GetOauth(); o != nil {
		s.OAuth = &OAuth{
			Issuer: o.GetIssuer(), ClientID: o.GetClientId(), SecretVersion: o.GetSecretVersion(), Scopes: o.GetScopes(),
			NoResource: o.GetNoResource(), AuthorizationEndpoint: o.GetAuthorizationEndpoint(), TokenEndpoint: o.GetTokenEndpoint(),
		}
	}
	return s
}
