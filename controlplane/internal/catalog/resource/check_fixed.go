// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

const (
	maxFixed      = 64       // arguments of one assignment
	maxFixedBytes = 16 << 10 // of their JSON
	maxFixedDepth = 16       // of objects and lists in one of them
	maxExact      = 1 << 53  // from here on, a number does not stand for one integer alone
)

// fixedArguments checks the form of what every call of an assignment gets. Whether the tool takes it is for admission to say, which
// knows the tool.
func (p *Problems) fixedArguments(at string, raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	if len(raw) > maxFixedBytes {
		p.field(at, "they have more than 16 KiB as JSON")
		return
	}
	var object map[string]any
	if json.Unmarshal(raw, &object) != nil || object == nil {
		p.field(at, "they are no object; write the arguments by name, for example {repo: penstock}")
		return
	}
	p.count(at, len(object), maxFixed)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := at + "." + clip(name)
		if name == "" || !printable(name) || !utf8.ValidString(name) {
			p.field(at, "an argument's name is printable text")
		}
		switch why := fixedValue(object[name], maxFixedDepth); why {
		case "":
		default:
			p.field(at, "%s", why)
		}
	}
}

// fixedValue says what is wrong with a value, nothing if it is in order.
func fixedValue(v any, depth int) string {
	if depth == 0 {
		return "it has objects or lists in one another more than 16 deep"
	}
	switch v := v.(type) {
	case float64:
		if math.Abs(v) >= maxExact {
			return "it has a number of 2^53 or more, which would not be kept exactly; use a text if the tool takes one"
		}
	case []any:
		for _, one := range v {
			if why := fixedValue(one, depth-1); why != "" {
				return why
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if why := fixedValue(v[name], depth-1); why != "" {
				return why
			}
		}
	default:
	}
	return ""
}
