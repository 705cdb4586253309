// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Headers are those that a server behind a gateway gets whatever clients send, in lower case.
type Headers struct {
	Server     string
	Connection string   // empty for none, or where calls choose one
	Stdio      bool     // it is a process: it gets no headers at all
	Credential []string // of the connection; where calls choose one, what people are asked for who connect the server
	Fixed      []string // of the server
}

// HeadersBehind returns the headers of each server of a gateway with each connection that is pinned, and once more where calls
// choose one. Servers and connections that are gone have none.
func HeadersBehind(ctx context.Context, d *desk.Desk, g *resource.Gateway) ([]Headers, error) {
	var found []Headers
	seen := make(map[behind]bool)
	note := func(server string, pinned *resource.Pinned, atCall bool) error {
		connection := ""
		if pinned != nil {
			connection = pinned.Connection
		}
		key := behind{server, connection, atCall}
		if seen[key] {
			return nil
		}
		seen[key] = true
		s, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, server)
		if err != nil || s == nil {
			return err
		}
		h := Headers{Server: s.Name, Stdio: s.Stdio != nil}
		for name := range s.ExtraHeaders {
			h.Fixed = append(h.Fixed, strings.ToLower(name))
		}
		c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, connection)
		if err != nil {
			return err
		}
		if c != nil && c.Server == s.Name && s.Credential != nil && s.Credential.StaticHeaders != nil {
			h.Connection = c.Name
			for _, name := range c.SecretNames {
				h.Credential = append(h.Credential, strings.ToLower(name))
			}
		}
		if atCall && s.Credential != nil && s.Credential.StaticHeaders != nil {
			for _, name := range s.Credential.StaticHeaders.Names {
				h.Credential = append(h.Credential, strings.ToLower(name))
			}
		}
		found = append(found, h)
		return nil
	}
	for _, a := range g.Tools {
		if err := note(desk.ServerOf(a.Tool), a.Pinned, a.ResolveAtCallTime != nil); err != nil {
			return nil, err
		}
	}
	for _, f := range g.ServerFeatures {
		if err := note(f.Server, f.Pinned, f.ResolveAtCallTime != nil); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// behind is a server as a gateway uses it.
type behind struct {
	server, connection string
	atCall             bool
}

// passthrough refuses headers of clients that a connection of the gateway authenticates with (G-41). A header that was listed
// before a credential with it came is not refused again: the credential wins, and a condition says so (G-42).
func passthrough(ctx context.Context, d *desk.Desk, before, g *resource.Gateway, p *resource.Problems) error {
	if len(g.PassthroughHeaders) == 0 {
		return nil
	}
	list, err := HeadersBehind(ctx, d, g)
	if err != nil {
		return err
	}
	for _, h := range list {
		known := before != nil && (pins(before, h.Connection) || h.Connection == "" && chooses(before, h.Server))
		for _, name := range g.PassthroughHeaders {
			if !slices.Contains(h.Credential, name) || known && slices.Contains(before.PassthroughHeaders, name) {
				continue
			}
			who := "callers' own connections authenticate"
			if h.Connection != "" {
				who = fmt.Sprintf("the connection %q authenticates", h.Connection)
			}
			p.Add(ReasonHeaderOfCredential, resource.PassthroughAt(name),
				"%s with it at the server %q, and a credential always wins; leave the header out", who, h.Server)
		}
	}
	return nil
}

// pins reports whether a gateway pins a connection.
func pins(g *resource.Gateway, connection string) bool {
	is := func(p *resource.Pinned) bool { return p != nil && p.Connection == connection }
	return slices.ContainsFunc(g.Tools, func(a resource.ToolAssignment) bool { return is(a.Pinned) }) ||
		slices.ContainsFunc(g.ServerFeatures, func(f resource.ServerFeature) bool { return is(f.Pinned) })
}

// chooses reports whether calls choose a connection of a server on a gateway.
func chooses(g *resource.Gateway, server string) bool {
	return slices.ContainsFunc(g.Tools, func(a resource.ToolAssignment) bool {
		return a.ResolveAtCallTime != nil && desk.ServerOf(a.Tool) == server
	}) || slices.ContainsFunc(g.ServerFeatures, func(f resource.ServerFeature) bool { return f.ResolveAtCallTime != nil && f.Server == server })
}
