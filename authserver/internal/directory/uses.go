// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"maps"
	"slices"
	"strings"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
)

// Connection is an installed server, as far as its credential is concerned.
type Connection struct {
	UID, Name string
	Server    string // name
	Owner     string // e-mail address of the person whose own it is; empty: a team's or the organisation's
}

// use is one gateway's use of one connection, or of all connections of a server, where calls choose. An assignment of a tool makes
// one, and so does each feature of a server that the gateway shows.
type use struct {
	gateway, connection string
}

// allOf stands in a use for all connections of a server: no connection has such a name.
func allOf(server string) string { return "/" + server }

// Reaches reports whether nodes of a region may have the credential of a connection (uid): if a gateway that they serve
// uses it (D-85, KM-7). A connection that no gateway uses belongs to no region: any node may be asked to list its server.
func (v *View) Reaches(connection, region string) bool {
	c := v.connections[connection]
	if c == nil {
		return false
	}
	pinned, chosen := v.uses[c.Name], v.uses[allOf(c.Server)]
	if region == "" || len(pinned)+len(chosen) == 0 {
		return true
	}
	return v.serves(pinned, region) || v.serves(chosen, region)
}

// serves reports whether nodes of a region serve one of the gateways.
func (v *View) serves(gateways map[string]int, region string) bool {
	for name := range gateways {
		if g := v.slugs[name]; g != nil && g.InRegion(region) {
			return true
		}
	}
	return false
}

// OwnConnections returns the uids of the connections that are a user's own (uid), active or not.
func (v *View) OwnConnections(user string) (list []string) {
	u := v.users[user]
	if u == nil {
		return nil
	}
	for uid, c := range v.connections {
		if c.Owner == u.Name {
			list = append(list, uid)
		}
	}
	slices.Sort(list)
	return list
}

// Orphaned reports whether a connection (uid) is the own one of somebody who is gone or deactivated: nobody's calls run with it.
func (v *View) Orphaned(connection string) bool {
	c := v.connections[connection]
	return c != nil && c.Owner != "" && v.UserByName(c.Owner) == nil
}

func (v *View) putConnection(name string, r *distributionv1.Resource) {
	if old := v.installed[name]; old != nil {
		delete(v.installed, name)
		delete(v.connections, old.UID)
	}
	if r != nil {
		c := &Connection{
			UID: r.GetConnection().GetUid(), Name: name, Server: r.GetConnection().GetServer(),
			Owner: r.GetConnection().GetOwner().GetUser(),
		}
		v.installed[name], v.connections[c.UID] = c, c
	}
}

// putPin brings an assignment into the view as a use of what it runs with, or takes it out if r is nil.
func (v *View) putPin(name string, r *distributionv1.Resource) {
	if old, ok := v.pins[name]; ok {
		delete(v.pins, name)
		v.count(old, -1)
	}
	a := r.GetAssignment()
	c := a.GetPinned().GetConnection()
	if a.GetResolveAtCallTime() != nil {
		_, tool, _ := strings.Cut(name, "/")
		server, _, _ := strings.Cut(tool, "/")
		c = allOf(server)
	}
	if c != "" {
		v.pins[name] = use{a.GetGateway(), c}
		v.count(v.pins[name], 1)
	}
}

// putFeatures replaces the connections that the features of a gateway use.
func (v *View) putFeatures(gateway string, connections []string) {
	for _, c := range v.features[gateway] {
		v.count(use{gateway, c}, -1)
	}
	delete(v.features, gateway)
	if len(connections) == 0 {
		return
	}
	v.features[gateway] = connections
	for _, c := range connections {
		v.count(use{gateway, c}, 1)
	}
}

// count changes how often a gateway uses a connection. The inner maps are shared with earlier views, so they are replaced.
func (v *View) count(u use, n int) {
	gateways := maps.Clone(v.uses[u.connection])
	if gateways == nil {
		gateways = make(map[string]int)
	}
	if gateways[u.gateway] += n; gateways[u.gateway] == 0 {
		delete(gateways, u.gateway)
	}
	v.uses[u.connection] = gateways
	if len(gateways) == 0 {
		delete(v.uses, u.connection)
	}
}
