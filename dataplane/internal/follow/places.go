// SPDX-License-Identifier: Apache-2.0

package follow

import "slices"

// places says to which gateways tools are assigned: a tool that changes touches those. Most tools are on one. The zero value is
// empty.
type places struct {
	first map[string]string
	more  map[string][]string // the gateways beside first
}

// put notes an assignment.
func (p *places) put(tool, gateway string) {
	first, ok := p.first[tool]
	switch {
	case !ok:
		if p.first == nil {
			p.first = make(map[string]string)
		}
		p.first[tool] = gateway
	case first != gateway && !slices.Contains(p.more[tool], gateway):
		if p.more == nil {
			p.more = make(map[string][]string)
		}
		p.more[tool] = append(p.more[tool], gateway)
	}
}

// remove notes the end of an assignment.
func (p *places) remove(tool, gateway string) {
	rest := p.more[tool]
	if p.first[tool] == gateway {
		if len(rest) == 0 {
			delete(p.first, tool)
			return
		}
		last := len(rest) - 1
		p.first[tool], rest = rest[last], rest[:last]
	} else {
		rest = slices.DeleteFunc(rest, func(g string) bool { return g == gateway })
	}
	if len(rest) == 0 {
		delete(p.more, tool)
		return
	}
	p.more[tool] = rest
}

// of calls fn for each gateway that a tool is assigned to.
func (p *places) of(tool string, fn func(gateway string)) {
	first, ok := p.first[tool]
	if !ok {
		return
	}
	fn(first)
	for _, gateway := range p.more[tool] {
		fn(gateway)
	}
}
