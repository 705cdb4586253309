// SPDX-License-Identifier: Apache-2.0

package view

import (
	"crypto/sha256"
	"sync/atomic"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// View is one immutable compiled state. Its maps are shared with the views before and after it and are never written
// after publication. The zero View is empty and valid.
type View struct {
	Epoch    string // lineage of Revision; empty before the first state
	Revision uint64 // revision of the control plane's log this view enforces

	gateways    map[string]*Gateway
	gatewayUIDs map[string]string // uid to name
	servers     map[string]*Server
	connections map[string]*Connection
	installed   map[install][]*Connection // by server and owner, sorted by name
	tokens      map[[sha256.Size]byte]*Token
	users       map[string]*User
	userUIDs    map[string]string // uid to name
	clients     map[string]*Client
	teams       map[string]*Team
	memberships map[string][]string // user to names of teams
	identities  map[Identity]string // account at an identity provider to user
	providers   map[string]*Provider
	policies    map[string]*Policy
	results     map[string]*ResultPolicy
}

// The compiled forms are kit/compile's, so that admission and nodes cannot differ.
type (
	// Server is what a node needs to reach a server.
	Server = compile.Server
	// Connection is an installed server, without its secret.
	Connection = compile.Connection
	// Tool is one tool assignment with the tool it shows.
	Tool = compile.Tool
	// Token is a static bearer token.
	Token = compile.Token
	// Client is an OAuth client that an administrator registered.
	Client = compile.Client
	// User is a person.
	User = compile.User
	// Identity is an account at an identity provider.
	Identity = compile.Identity
	// Provider is an identity provider whose tokens gateways may accept.
	Provider = compile.Provider
	// JWKSIssuer says which tokens of an identity provider count on a gateway.
	JWKSIssuer = compile.JWKSIssuer
	// Policy is a rule on tool calls.
	Policy = compile.Policy
	// ResultPolicy is a rule on the results of tools.
	ResultPolicy = compile.ResultPolicy
	// Team is a group of people.
	Team = compile.Team
	// Visibility says who may use a gateway.
	Visibility = compile.Visibility
)

// Gateway is one compiled gateway with what it shows. Everything but the list cache is immutable. All but its form and
// its tools is filled in by [Builder.Build], out of the servers behind it.
type Gateway struct {
	compile.Gateway
	Tools     []*Tool             // sorted by exposed name
	Prompts   []*compile.Prompt   // sorted by exposed name
	Templates []*compile.Template // sorted by the URI that clients see

	Scopes           []string             // that tokens may have, sorted: "mcp" and what tools require (RS-19)
	Capabilities     compile.Capabilities // joined over the servers behind the gateway, of features that are on (M-57)
	FullInstructions string               // its own, then those of servers (M-58); at most 16 KiB
	Policies         []*Policy            // that concern its calls, in the order of compile.ComparePolicies
	ResultPolicies   []*ResultPolicy      // that concern its results, in the order of compile.CompareResultPolicies
	ReadsClaims      bool                 // one of them reads the claims of callers' tokens

	byName map[string]*Tool
	asking []*Policy // of Policies, those that have to know the context of a call (G-33)

	resultsAsk bool     // one of ResultPolicies has to know it
	makesMarks bool     // one of ResultPolicies makes contexts untrusted
	atCall     []string // servers whose connections calls choose (G-12)
	joined     bool     // the servers were looked at: the gateway is published
	routes     *routes  // nil if no server shows resources
	lists      [listSlots]atomic.Pointer[[][]byte]
}

// ListVersions is the number of renderings that a list of a gateway may have: one per published protocol version.
const ListVersions = 8

// listSlots is for the lists of tools, prompts and templates.
const listSlots = 3 * ListVersions

// Gateway returns the gateway with a name or uid, nil if there is none.
func (v *View) Gateway(nameOrUID string) *Gateway {
	if g := v.gateways[nameOrUID]; g != nil {
		return g
	}
	if name, ok := v.gatewayUIDs[nameOrUID]; ok {
		return v.gateways[name]
	}
	return nil
}

// Policy returns a policy, nil if there is none.
func (v *View) Policy(name string) *Policy { return v.policies[name] }

// ResultPolicy returns a result policy, nil if there is none.
func (v *View) ResultPolicy(name string) *ResultPolicy { return v.results[name] }

// Gateways calls fn for every gateway, in no order, until it returns false.
func (v *View) Gateways(fn func(*Gateway) bool) {
	for _, g := range v.gateways {
		if !fn(g) {
			return
		}
	}
}

// Server returns a server, nil if there is none.
func (v *View) Server(name string) *Server { return v.servers[name] }

// Connection returns a connection, nil if there is none.
func (v *View) Connection(name string) *Connection { return v.connections[name] }

// MadeOf calls fn with each connection of the servers whose credential is made of an identity provider's tokens.
func (v *View) MadeOf(provider string, fn func(*Connection)) {
	for _, c := range v.connections {
		if s := v.servers[c.Server]; s != nil && s.Provider != "" && s.Provider == provider {
			fn(c)
		}
	}
}

// Providers calls fn for every identity provider whose tokens gateways may accept, in no order, until it returns false.
func (v *View) Providers(fn func(*Provider) bool) {
	for _, p := range v.providers {
		if !fn(p) {
			return
		}
	}
}

// Counts returns the numbers of gateways and of tools on them.
func (v *View) Counts() (gateways, tools int) {
	for _, g := range v.gateways {
		tools += len(g.Tools)
	}
	return len(v.gateways), tools
}

// List returns the gateway's prepared list of a slot, one element per page, made by build at first use. A slot
// stands for one rendering; two callers racing at first use may both build, one result is kept.
func (g *Gateway) List(slot int, build func() [][]byte) [][]byte {
	if pages := g.lists[slot].Load(); pages != nil {
		return *pages
	}
	pages := build()
	g.lists[slot].CompareAndSwap(nil, &pages)
	return *g.lists[slot].Load()
}
