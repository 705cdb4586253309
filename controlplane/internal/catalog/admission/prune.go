// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// PinsStay refuses a configuration that pins a connection which is not among those to keep, because it would be deleted.
func PinsStay(wanted []resource.Object, keep map[record.Key]bool) error {
	var p resource.Problems
	check := func(g *resource.Gateway, pinned *resource.Pinned, at string) {
		if pinned != nil && !keep[record.Key{Kind: resource.KindConnection, Name: pinned.Connection}] {
			p.Add(ReasonPinPruned, "gateway "+g.Name+": "+at, "the connection %q is not listed, so prune would delete it; list it, or pin another", pinned.Connection)
		}
	}
	for _, o := range wanted {
		g, ok := o.(*resource.Gateway)
		if !ok {
			continue
		}
		for _, a := range g.Tools {
			check(g, a.Pinned, At(a, "pinned.connection"))
		}
		for _, f := range g.ServerFeatures {
			check(g, f.Pinned, FeatureAt(f, "pinned.connection"))
		}
	}
	return p.Err("configuration")
}
