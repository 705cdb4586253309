// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Builder makes the next [View] out of one before. Only the maps that are written are copied, so a change to one
// gateway costs one map copy, not a copy of everything. It is not safe for concurrent use.
type Builder struct {
	next   View
	copied [kinds]bool

	put     map[string]struct{} // gateways that were put
	changed map[string]struct{} // servers that changed: the gateways in front of them are joined anew
	ruled   []rule              // policies of both kinds that changed, before and after: the gateways that they concern are joined anew
}

// rule is a policy of either kind.
type rule interface{ On(g *compile.Gateway) bool }

const (
	gatewayMap = iota
	gatewayUIDMap
	serverMap
	connectionMap
	installMap
	tokenMap
	userMap
	userUIDMap
	clientMap
	teamMap
	memberMap
	identityMap
	providerMap
	policyMap
	resultMap
	kinds
)

// From starts a builder on a view; nil means an empty one.
func From(prev *View) *Builder {
	b := &Builder{}
	if prev != nil {
		b.next = *prev
	}
	return b
}

// own copies a map before its first write.
func own[K comparable, V any](b *Builder, kind int, m *map[K]V) {
	if b.copied[kind] {
		return
	}
	b.copied[kind] = true
	if *m == nil {
		*m = make(map[K]V)
		return
	}
	*m = maps.Clone(*m)
}

func put[V any](b *Builder, kind int, m *map[string]*V, name string, value *V) {
	own(b, kind, m)
	if value == nil {
		delete(*m, name)
		return
	}
	(*m)[name] = value
}

// PutGateway stores a gateway under its name; the tools are sorted by exposed name and indexed here. The builder owns
// the gateway from now on.
func (b *Builder) PutGateway(g *Gateway) {
	if g.byName == nil { // a gateway of an earlier view is already published: it must not be written
		slices.SortFunc(g.Tools, func(x, y *Tool) int { return strings.Compare(x.Exposed, y.Exposed) })
		g.byName = make(map[string]*Tool, len(g.Tools))
		for _, t := range g.Tools {
			g.byName[t.Exposed] = t
		}
	}
	old := b.next.gateways[g.Name]
	own(b, gatewayMap, &b.next.gateways)
	b.next.gateways[g.Name] = g
	if old == nil || old.UID != g.UID {
		own(b, gatewayUIDMap, &b.next.gatewayUIDs)
		if old != nil {
			delete(b.next.gatewayUIDs, old.UID)
		}
		b.next.gatewayUIDs[g.UID] = g.Name
	}
	if b.put == nil {
		b.put = make(map[string]struct{})
	}
	b.put[g.Name] = struct{}{}
}

// DeleteGateway removes a gateway.
func (b *Builder) DeleteGateway(name string) {
	old := b.next.gateways[name]
	if old == nil {
		return
	}
	own(b, gatewayMap, &b.next.gateways)
	own(b, gatewayUIDMap, &b.next.gatewayUIDs)
	delete(b.next.gateways, name)
	delete(b.next.gatewayUIDs, old.UID)
}

// PutServer stores a server; nil removes it.
func (b *Builder) PutServer(name string, s *Server) {
	if !reflect.DeepEqual(b.next.servers[name], s) {
		if b.changed == nil {
			b.changed = make(map[string]struct{})
		}
		b.changed[name] = struct{}{}
	}
	put(b, serverMap, &b.next.servers, name, s)
}

// PutConnection stores a connection; nil removes it.
func (b *Builder) PutConnection(name string, c *Connection) {
	b.moveInstalled(b.next.connections[name], c)
	put(b, connectionMap, &b.next.connections, name, c)
}

// PutUser stores a user; nil removes it.
func (b *Builder) PutUser(name string, u *User) {
	if old := b.next.users[name]; old != nil && (u == nil || u.UID != old.UID) {
		own(b, userUIDMap, &b.next.userUIDs)
		if b.next.userUIDs[old.UID] == name { // else a new user of that uid came first
			delete(b.next.userUIDs, old.UID)
		}
	}
	if u != nil && b.next.userUIDs[u.UID] != name {
		own(b, userUIDMap, &b.next.userUIDs)
		b.next.userUIDs[u.UID] = name
	}
	b.moveIdentities(name, b.next.users[name], u)
	put(b, userMap, &b.next.users, name, u)
}

// moveIdentities keeps the index from accounts at identity providers to users.
func (b *Builder) moveIdentities(name string, before, after *User) {
	if before != nil {
		for _, id := range before.Identities {
			if b.next.identities[id] == name && (after == nil || !slices.Contains(after.Identities, id)) { // else another user got it first
				own(b, identityMap, &b.next.identities)
				delete(b.next.identities, id)
			}
		}
	}
	if after != nil {
		for _, id := range after.Identities {
			if b.next.identities[id] != name {
				own(b, identityMap, &b.next.identities)
				b.next.identities[id] = name
			}
		}
	}
}

// PutProvider stores an identity provider; nil removes it.
func (b *Builder) PutProvider(name string, p *Provider) {
	put(b, providerMap, &b.next.providers, name, p)
}

// PutClient stores an OAuth client; nil removes it.
func (b *Builder) PutClient(name string, c *Client) { put(b, clientMap, &b.next.clients, name, c) }

// PutPolicy stores a policy; nil removes it.
func (b *Builder) PutPolicy(name string, p *Policy) {
	for _, one := range []*Policy{b.next.policies[name], p} {
		if one != nil {
			b.ruled = append(b.ruled, one)
		}
	}
	put(b, policyMap, &b.next.policies, name, p)
}

// PutResultPolicy stores a result policy; nil removes it.
func (b *Builder) PutResultPolicy(name string, p *ResultPolicy) {
	for _, one := range []*ResultPolicy{b.next.results[name], p} {
		if one != nil {
			b.ruled = append(b.ruled, one)
		}
	}
	put(b, resultMap, &b.next.results, name, p)
}

// ResultPolicy returns a result policy as it is so far, nil if there is none.
func (b *Builder) ResultPolicy(name string) *ResultPolicy { return b.next.results[name] }

// Policy returns a policy as it is so far, nil if there is none.
func (b *Builder) Policy(name string) *Policy { return b.next.policies[name] }

// PutTeam stores a team; nil removes it.
func (b *Builder) PutTeam(name string, t *Team) {
	b.moveMembers(name, b.next.teams[name], t)
	put(b, teamMap, &b.next.teams, name, t)
}

// moveMembers keeps the index from users to teams. Lists of earlier views are not written.
func (b *Builder) moveMembers(name string, before, after *Team) {
	own(b, memberMap, &b.next.memberships)
	if before != nil {
		for user := range before.Members {
			rest := slices.DeleteFunc(slices.Clone(b.next.memberships[user]), func(n string) bool { return n == name })
			if b.next.memberships[user] = rest; len(rest) == 0 {
				delete(b.next.memberships, user)
			}
		}
	}
	if after != nil {
		for user := range after.Members {
			list := b.next.memberships[user]
			b.next.memberships[user] = append(list[:len(list):len(list)], name)
		}
	}
}

// PutToken stores a bearer token under the SHA-256 of its text.
func (b *Builder) PutToken(hash [sha256.Size]byte, t *Token) {
	own(b, tokenMap, &b.next.tokens)
	b.next.tokens[hash] = t
}

// DeleteToken removes a bearer token.
func (b *Builder) DeleteToken(hash [sha256.Size]byte) {
	own(b, tokenMap, &b.next.tokens)
	delete(b.next.tokens, hash)
}

// Build returns the view at a revision. The builder must not be used afterwards.
func (b *Builder) Build(epoch string, revision uint64) *View {
	b.join()
	v := b.next
	v.Epoch, v.Revision = epoch, revision
	return &v
}
