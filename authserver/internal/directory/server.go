// SPDX-License-Identifier: Apache-2.0

package directory

import resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"

// defaultHeader is what people are asked for where a server names no header.
const defaultHeader = "Authorization"

// Server is a server that people give a credential for themselves, as far as that is concerned.
type Server struct {
	UID, Name, DisplayName string
	URL                    string   // of the MCP endpoint
	Headers                []string // names of the secret headers that people are asked for; empty: none
}

// Title returns the display name, or the name where there is none.
func (s *Server) Title() string {
	if s.DisplayName != "" {
		return s.DisplayName
	}
	return s.Name
}

// Connectable reports whether a person can give a credential for the server on a page.
func (s *Server) Connectable() bool { return len(s.Headers) > 0 }

// Server returns a server by name, nil if there is none that the authserver has a part in.
func (v *View) Server(name string) *Server { return v.servers[name] }

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
	return s
}
