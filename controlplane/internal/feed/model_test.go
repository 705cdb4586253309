// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"context"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// model is the configuration as the test believes it to be: the rules of D-11 and D-12 said once more, slowly.
type model struct {
	gateways    map[string][]string // name → regions
	assignments map[string]string   // "<gateway>/<tool>" → connection
	tools       map[string]string   // name → body
	servers     map[string]bool
	connections map[string]bool // of server "<prefix>"
	wide        map[catalog.Key]bool
}

func newModel() *model {
	return &model{
		gateways: map[string][]string{}, assignments: map[string]string{}, tools: map[string]string{}, servers: map[string]bool{},
		connections: map[string]bool{}, wide: map[catalog.Key]bool{},
	}
}

func (m *model) members(s scope.Scope) map[replica.Key]bool {
	in := make(map[replica.Key]bool)
	for k := range m.wide {
		if s.Authserver && (k.Kind == catalog.KindBearerToken || k.Kind == catalog.KindPolicy || k.Kind == catalog.KindResultPolicy) {
			continue
		}
		in[replica.Key{Kind: string(k.Kind), Name: k.Name}] = true
	}
	if s.Authserver {
		for g := range m.gateways {
			in[replica.Key{Kind: "gateway", Name: g}] = true
		}
		for c := range m.connections {
			in[replica.Key{Kind: "connection", Name: c}] = true
		}
		for a, connection := range m.assignments {
			if connection != "" {
				in[replica.Key{Kind: "assignment", Name: a}] = true
			}
		}
		return in
	}
	server := func(name string) {
		if m.servers[name] {
			in[replica.Key{Kind: "server", Name: name}] = true
		}
	}
	for g, regions := range m.gateways {
		if s.Region == "" || len(regions) == 0 || slices.Contains(regions, s.Region) {
			in[replica.Key{Kind: "gateway", Name: g}] = true
		}
	}
	for a, connection := range m.assignments {
		g, tool, _ := strings.Cut(a, "/")
		if !in[replica.Key{Kind: "gateway", Name: g}] {
			continue
		}
		in[replica.Key{Kind: "assignment", Name: a}] = true
		if _, ok := m.tools[tool]; ok {
			in[replica.Key{Kind: "tool", Name: tool}] = true
			name, _, _ := strings.Cut(tool, "/")
			server(name)
		}
		for c := range m.connections {
			name, _, _ := strings.Cut(c, "-")
			if c == connection || connection == feedtest.AtCall && strings.HasPrefix(tool, name+"/") {
				in[replica.Key{Kind: "connection", Name: c}] = true
				server(name)
			}
		}
	}
	return in
}

// chooser chooses a number in [0, n).
type chooser func(n int) int

func (c chooser) of(from ...string) string { return from[c(len(from))] }

// drawn lets rapid choose, which tries again with fewer and smaller choices when a property fails.
func drawn(t *rapid.T) chooser {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
}

// given takes the choices from bytes; after the last one it always chooses 0.
func given(choices []byte) chooser {
	return func(n int) int {
		if len(choices) == 0 {
			return 0
		}
		c := int(choices[0]) % n
		choices = choices[1:]
		return c
	}
}

// change makes one operation and applies it to the model.
func (m *model) change(choose chooser) feedtest.Op {
	server, version := choose.of("s1", "s2"), choose.of("1", "2", "3")
	gateway := choose.of("g1", "g2", "g3")
	tool := server + "/" + choose.of("a", "b")
	connection := server + "-" + choose.of("x", "y")
	switch choose(14) {
	case 0, 1:
		regions := [][]string{nil, {"eu"}, {"us"}, {"eu", "us"}}[choose(4)]
		m.gateways[gateway] = regions
		return feedtest.Gateway(gateway, version, regions...)
	case 2, 3, 4:
		connection = choose.of(connection, connection, "", feedtest.AtCall)
		m.assignments[gateway+"/"+tool] = connection
		return feedtest.Assign(gateway, tool, connection)
	case 5, 6:
		// Few bodies, so that tools share them and lose them again.
		body := choose.of("body-1", "body-2", "body-3")
		m.tools[tool] = body
		_, name, _ := strings.Cut(tool, "/")
		return feedtest.Tool(server, name, body)
	case 7:
		m.servers[server] = true
		return feedtest.Server(server, version)
	case 8:
		m.connections[connection] = true
		return feedtest.Connection(connection, server)
	case 9:
		return m.changeWide(choose(6), version)
	default:
		return m.remove(choose)
	}
}

// changeWide changes a resource of a deployment-wide kind.
func (m *model) changeWide(which int, version string) feedtest.Op {
	switch which {
	case 0:
		m.wide[catalog.Key{Kind: catalog.KindTeam, Name: "eng"}] = true
		return feedtest.Team("eng", version+"@example.com")
	case 1:
		m.wide[catalog.Key{Kind: catalog.KindIdentityProvider, Name: "idp"}] = true
		return feedtest.Provider("idp", version)
	case 2:
		m.wide[catalog.Key{Kind: catalog.KindOAuthClient, Name: "ci"}] = true
		return feedtest.Client("ci", version)
	case 3:
		m.wide[catalog.Key{Kind: catalog.KindPolicy, Name: "no"}] = true
		return feedtest.Policy("no", version)
	case 4:
		m.wide[catalog.Key{Kind: catalog.KindResultPolicy, Name: "no"}] = true
		return feedtest.ResultPolicy("no", version)
	default:
		m.wide[catalog.Key{Kind: catalog.KindBearerToken, Name: "t1"}] = true
		return feedtest.Token("t1", false)
	}
}

// remove deletes one of what there is.
func (m *model) remove(choose chooser) feedtest.Op {
	var all []catalog.Key
	add := func(kind catalog.Kind, names ...string) {
		for _, n := range names {
			all = append(all, catalog.Key{Kind: kind, Name: n})
		}
	}
	add(catalog.KindGateway, slices.Sorted(maps.Keys(m.gateways))...)
	add(catalog.KindAssignment, slices.Sorted(maps.Keys(m.assignments))...)
	add(catalog.KindTool, slices.Sorted(maps.Keys(m.tools))...)
	add(catalog.KindServer, slices.Sorted(maps.Keys(m.servers))...)
	add(catalog.KindConnection, slices.Sorted(maps.Keys(m.connections))...)
	all = append(all, slices.SortedFunc(maps.Keys(m.wide), func(a, b catalog.Key) int { return strings.Compare(a.Name, b.Name) })...)
	if len(all) == 0 {
		m.wide[catalog.Key{Kind: catalog.KindUser, Name: "u@example.com"}] = true
		return feedtest.User("u@example.com", "first")
	}
	k := all[choose(len(all))]
	switch k.Kind {
	case catalog.KindGateway:
		delete(m.gateways, k.Name)
	case catalog.KindAssignment:
		delete(m.assignments, k.Name)
	case catalog.KindTool:
		delete(m.tools, k.Name)
	case catalog.KindServer:
		delete(m.servers, k.Name)
	case catalog.KindConnection:
		delete(m.connections, k.Name)
	default:
		delete(m.wide, k)
	}
	return func(ctx context.Context, tx catalog.Tx) error {
		if err := feedtest.Delete(k.Kind, k.Name)(ctx, tx); err != nil {
			return err
		}
		return feedtest.Deny(k.Kind, k.Name)(ctx, tx)
	}
}
