// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// CapabilityExplain is announced by nodes that can say what would become of a call.
const CapabilityExplain = "explain"

// Reasons of faults of [Server.Explainable].
const (
	// ReasonNodeNotConnected is a node that was named and is not connected.
	ReasonNodeNotConnected = "NODE_NOT_CONNECTED"
	// ReasonNodesTooOld is a question that none of the nodes that could answer it understands.
	ReasonNodesTooOld = "NODE_LACKS_CAPABILITY"
	// ReasonNoNodeWithGateway is a question about a gateway that no node connected, or the one that was named, may hold.
	ReasonNoNodeWithGateway = "NO_NODE_WITH_GATEWAY"
)

// wish is what a task needs of a node.
type wish struct {
	connection string // better one that holds it
	explain    *distributionv1.ExplainTask
}

func wishOf(t *distributionv1.Task) wish {
	return wish{connection: t.GetDiscover().GetConnection().GetName(), explain: t.GetExplain()}
}

// ability says whether a node can do a task; the greater, the nearer it is to it.
type ability uint8

const (
	otherNode   ability = iota // another one was named
	gatewayless                // it may not hold the gateway
	tooOld                     // it does not know the task
	able
)

// may says whether a node can do the task. The caller holds the ledger's mu.
func (w wish) may(e *entry) ability {
	q := w.explain
	switch {
	case q == nil:
		return able
	case q.GetNode() != "" && e.node.Name != q.GetNode():
		return otherNode
	case e.class != nil && !e.class.Holds(catalog.Key{Kind: catalog.KindGateway, Name: q.GetQuestion().GetGateway()}):
		return gatewayless
	case !slices.Contains(e.node.Capabilities, CapabilityExplain):
		return tooOld
	default:
		return able
	}
}

// Explainable returns why no node that is connected, here or at another control plane, can do the task, nil if one can.
func (s *Server) Explainable(t *distributionv1.ExplainTask) error {
	best, connected := otherNode, false
	var old []string
	s.ledger.mu.Lock()
	for _, e := range s.ledger.entries {
		if !e.node.Connected || e.node.Role != ident.RoleNode {
			continue
		}
		connected = true
		a := wish{explain: t}.may(e)
		best = max(best, a)
		if a == tooOld {
			old = append(old, e.node.Name)
		}
	}
	s.ledger.mu.Unlock()
	slices.Sort(old)
	switch {
	case best == able:
		return nil
	case !connected:
		return noNode(false)
	case best == otherNode:
		return fault.Newf(fault.Unavailable, ReasonNodeNotConnected, "The node %q is not connected. See: penstock nodes.", t.GetNode())
	case best == tooOld:
		return fault.Newf(fault.Precondition, ReasonNodesTooOld, "The nodes cannot explain calls yet: update %s.", old[0])
	case t.GetNode() != "":
		return fault.Newf(fault.Unavailable, ReasonNoNodeWithGateway, "The node %q does not hold the gateway %q: it is in none of its regions.",
			t.GetNode(), t.GetQuestion().GetGateway())
	default:
		return fault.Newf(fault.Unavailable, ReasonNoNodeWithGateway,
			"No node is connected that holds the gateway %q. Start a data plane in one of its regions.", t.GetQuestion().GetGateway())
	}
}
