// SPDX-License-Identifier: Apache-2.0

package session

import "github.com/penstockhq/penstock/dataplane/internal/wire"

// maxCapabilities bounds what is kept of initialize (mcp.md M-89).
const maxCapabilities = 16 << 10

// abilities is what a session id says of the client's capabilities (M-86), for a node that knows nothing else of the
// session: enough to offer upstreams what the client can do.
type abilities uint16

// What clients of legacy versions declare. The numbers are sealed into session ids.
const (
	canSample abilities = 1 << iota
	canSampleContext
	canSampleTools
	canElicit
	canElicitForm
	canElicitURL
	hasRoots
	tellsRoots
)

// ability is a member of the capabilities object, or of a member of it.
type ability struct {
	bit    abilities
	group  string
	member string // empty: the group itself
	value  string // how it is written
}

func allAbilities() [8]ability {
	return [8]ability{
		{canSample, "sampling", "", ""},
		{canSampleContext, "sampling", "context", `{}`},
		{canSampleTools, "sampling", "tools", `{}`},
		{canElicit, "elicitation", "", ""},
		{canElicitForm, "elicitation", "form", `{}`},
		{canElicitURL, "elicitation", "url", `{}`},
		{hasRoots, "roots", "", ""},
		{tellsRoots, "roots", "listChanged", `true`},
	}
}

// readAbilities reads a raw ClientCapabilities object. What has another form than the schema says is not there.
func readAbilities(raw []byte) (a abilities) {
	groups, err := wire.Fields(nil, raw)
	if err != nil {
		return 0
	}
	for _, one := range allAbilities() {
		group := wire.Lookup(groups, one.group).Of(raw)
		if !wire.IsObject(group) {
			continue
		}
		if one.member == "" {
			a |= one.bit
			continue
		}
		members, err := wire.Fields(nil, group)
		if err != nil {
			continue
		}
		value := wire.Lookup(members, one.member).Of(group)
		if wire.IsObject(value) && one.value != `true` || string(value) == one.value {
			a |= one.bit
		}
	}
	return a
}

// object writes the capabilities as initialize declares them.
func (a abilities) object() []byte {
	b, open := []byte{'{'}, false
	for _, one := range allAbilities() {
		switch {
		case a&one.bit == 0:
			continue
		case one.member == "":
			if open {
				b = append(b, "},"...)
			}
			open = true
			b = append(append(wire.AppendString(b, one.group), ':'), '{')
			continue
		case b[len(b)-1] != '{':
			b = append(b, ',')
		}
		b = append(append(wire.AppendString(b, one.member), ':'), one.value...)
	}
	if open {
		b = append(b, '}')
	}
	return append(b, '}')
}
