// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Catalogue is a synthetic configuration. The same settings make the same one. Every server has as many tools, and every
// Tool is on one gateway; with Zipf, few gateways have many tools and many have few.
type Catalogue struct {
	Gateways, Tools, Servers int
	Seed                     uint64
	Zipf                     bool
}

// String tells one catalogue from another.
func (c Catalogue) String() string {
	text := fmt.Sprintf("%d gateways, %d tools, %d servers, seed %d", c.Gateways, c.Tools, c.Servers, c.Seed)
	if c.Zipf {
		text += ", Zipf"
	}
	return text
}

// words is what names and descriptions are made of: enough variety that a tool does not shrink to nothing when it is
// compressed, as little as real descriptions have.
const words = `account active address after agent all amount analytics any archive array attach available backup batch before board
branch calendar campaign cancel category change channel check cluster code comment commit company contact content contract count
create currency current customer data database date deadline default delete deploy description detail device disable document domain
draft duration edit email employee enable entry environment error estimate event every exact export failed field file filter first
folder format forward found group header history host identifier image import inbox include index instance invoice issue item job key
label language last latest level limit line link list location lock log machine member merge message method metric milestone model
month name network next node note notification number object offset once open option order organization owner page parent parameter
password path payment pending period permission person phone pipeline plan policy position preview price priority process product
profile project property provider public publish pull query queue range rate read reason receive record region release remove repeat
replace reply report repository request required reset resolve resource response result retry return review role rule run schedule
schema scope search secret section select send sequence server service session set shared shipment sign size snapshot sort source
space start state status step stop storage store stream string subject submit subscription summary support table tag target task team
template tenant text thread ticket time timeout title token topic total track transaction transfer trigger type unit update upload
user validate value variable vendor version view visible volume warehouse week when where which widget window with workflow year zone`

// Tool returns the definition of one tool as JSON text, about 1.75 KB.
func (c Catalogue) Tool(n int) []byte {
	r := rand.New(rand.NewPCG(c.Seed, uint64(n)))
	vocabulary := strings.Fields(words)
	sentence := func(length int) string {
		picked := make([]string, length)
		for i := range picked {
			picked[i] = vocabulary[r.IntN(len(vocabulary))]
		}
		return strings.ToUpper(picked[0][:1]) + strings.Join(picked, " ")[1:] + "."
	}
	properties := map[string]any{}
	var required []string
	for i := range 7 + r.IntN(4) {
		name := fmt.Sprintf("%s_%s", vocabulary[r.IntN(len(vocabulary))], vocabulary[r.IntN(len(vocabulary))])
		p := map[string]any{"type": "string", "description": sentence(6 + r.IntN(12))}
		switch i % 4 {
		case 1:
			p["type"], p["minimum"], p["default"] = "integer", r.IntN(10), r.IntN(100)
		case 2:
			p["enum"] = []string{vocabulary[r.IntN(len(vocabulary))], vocabulary[r.IntN(len(vocabulary))], vocabulary[r.IntN(len(vocabulary))]}
		case 3:
			p = map[string]any{"type": "array", "items": map[string]any{"type": "string", "description": sentence(5)}, "maxItems": 1 + r.IntN(100)}
		}
		properties[name] = p
		if i < 2 {
			required = append(required, name)
		}
	}
	text, err := json.Marshal(map[string]any{
		"name": ToolName(n), "title": sentence(3), "description": sentence(30 + r.IntN(25)),
		"inputSchema": map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false},
		"annotations": map[string]any{"readOnlyHint": r.IntN(2) == 0, "openWorldHint": true},
	})
	if err != nil {
		panic(err) // maps, strings and numbers can be encoded
	}
	return text
}

// ToolName is the n-th tool's.
func ToolName(n int) string { return fmt.Sprintf("tool-%06d", n) }

// ServerName is the n-th server's and its connection's.
func ServerName(n int) string { return fmt.Sprintf("server-%03d", n) }

// GatewayName is the n-th gateway's.
func GatewayName(n int) string { return fmt.Sprintf("gateway-%05d", n) }

// ServerOf returns the server that has a tool: every server has as many, in a row.
func (c Catalogue) ServerOf(tool int) int { return tool / (c.Tools / c.Servers) }

// ToolsOf returns the numbers of a server's tools: first and one past the last.
func (c Catalogue) ToolsOf(server int) (first, end int) {
	each := c.Tools / c.Servers
	return server * each, (server + 1) * each
}

// ToolsOn returns the numbers of the tools of a gateway. They are spread over the servers, as in life.
func (c Catalogue) ToolsOn(gateway int) []int {
	first, end := c.span(gateway)
	list := make([]int, 0, end-first)
	for k := first; k < end; k++ {
		list = append(list, k%c.Servers*(c.Tools/c.Servers)+k/c.Servers)
	}
	return list
}

// span returns which of all tools, counted around the servers, are a gateway's.
func (c Catalogue) span(gateway int) (first, end int) {
	if !c.Zipf {
		each := c.Tools / c.Gateways
		return gateway * each, (gateway + 1) * each
	}
	// One tool for each, and of the rest a share that falls with the rank; the sum of 1/√rank up to n is about 2√n.
	rest, all := float64(c.Tools-c.Gateways), math.Sqrt(float64(c.Gateways))
	at := func(n int) int { return n + int(rest*math.Sqrt(float64(n))/all) }
	return at(gateway), at(gateway + 1)
}

// Assignments returns the tools of a gateway as they stand in it.
func (c Catalogue) Assignments(gateway int) []*resourcev1.ToolAssignment {
	var list []*resourcev1.ToolAssignment
	for _, tool := range c.ToolsOn(gateway) {
		server := ServerName(c.ServerOf(tool))
		list = append(list, &resourcev1.ToolAssignment{
			Tool: server + "/" + ToolName(tool),
			Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: server}},
		})
	}
	return list
}

// Everyone is the visibility of all that is in a catalogue.
func Everyone() *resourcev1.Visibility {
	return &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
}

// Installed returns the servers, with their MCP endpoints below base, and a connection of each.
func (c Catalogue) Installed(base string) []*adminv1.ManifestResource {
	var list []*adminv1.ManifestResource
	for n := range c.Servers {
		list = append(list,
			&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{
				Name: ServerName(n), Visibility: Everyone(), Protocol: MCPVersion, Stateless: true,
				Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: fmt.Sprintf("%s/%d", base, n)}},
			}}},
			&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Connection{Connection: &resourcev1.Connection{
				Name: ServerName(n), Server: ServerName(n),
				Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
			}}})
	}
	return list
}

// Published returns the gateways first to end with their tools.
func (c Catalogue) Published(first, end int) []*adminv1.ManifestResource {
	var list []*adminv1.ManifestResource
	for n := first; n < end; n++ {
		g := &resourcev1.Gateway{
			Name: GatewayName(n), DisplayName: fmt.Sprintf("Gateway %d", n), Visibility: Everyone(),
			Authentication: &resourcev1.Authentication{BearerToken: &resourcev1.BearerTokenAuthentication{}},
		}
		g.Tools = c.Assignments(n)
		list = append(list, &adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Gateway{Gateway: g}})
	}
	return list
}
