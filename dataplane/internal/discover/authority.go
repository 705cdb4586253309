// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const (
	// maxAuthorities is how many are reported; URIs of the others are told apart by the server's name, as unknown ones are.
	maxAuthorities = 1000
	maxAuthority   = 512
)

// authorities returns the schemes and authorities of a server's resources, templates and apps, sorted (M-66).
func authorities(l Listing) []string {
	found := make(map[string]struct{})
	note := func(uri json.RawMessage) {
		var text string
		if json.Unmarshal(uri, &text) != nil {
			return
		}
		if a, ok := compile.Authority(text); ok && len(a) <= maxAuthority && len(found) < maxAuthorities {
			found[a] = struct{}{}
		}
	}
	for _, raw := range l.Resources {
		note(open(raw)["uri"])
	}
	for _, raw := range l.Templates {
		note(open(raw)["uriTemplate"])
	}
	for _, raw := range l.Tools {
		meta := open(open(raw)["_meta"])
		note(open(meta["ui"])["resourceUri"])
		note(meta["ui/resourceUri"]) // as apps before 2026 wrote it
	}
	if len(found) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(found))
}

// open decodes a JSON object one level deep; nil if it is none. A map, because names are exact (M-10).
func open(raw []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if len(raw) == 0 || json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}
