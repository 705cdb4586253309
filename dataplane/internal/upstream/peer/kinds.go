// SPDX-License-Identifier: Apache-2.0

package peer

import "github.com/penstockhq/penstock/dataplane/internal/wire"

// AllCapabilities are declared while a server is described: servers hide tools
// from clients that could not serve them.
const AllCapabilities = `{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{}}`

// Kinds is a set of questions that an upstream may ask.
type Kinds uint8

const (
	sampling Kinds = 1 << iota
	elicitation
	roots
	tasks
)

// KindsOf reads what a raw object of client capabilities declares.
func KindsOf(capabilities []byte) (k Kinds) {
	if len(capabilities) == 0 {
		return 0
	}
	fields, err := wire.Fields(nil, capabilities)
	if err != nil {
		return 0
	}
	for _, f := range fields {
		switch string(f.Name) {
		case "sampling":
			k |= sampling
		case "elicitation":
			k |= elicitation
		case "roots":
			k |= roots
		case "tasks":
			k |= tasks
		}
	}
	return k
}

// Allow reports whether a method is a question of the set.
func (k Kinds) Allow(method string) bool {
	switch method {
	case "sampling/createMessage":
		return k&sampling != 0
	case "elicitation/create":
		return k&elicitation != 0
	case "roots/list":
		return k&roots != 0
	case "tasks/get", "tasks/result", "tasks/cancel", "tasks/list":
		return k&tasks != 0
	}
	return false
}
