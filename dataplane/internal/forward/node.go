// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"time"
)

// Node is one node of the region as the others know it.
type Node struct {
	// Name is the one in the node's SPIFFE ID.
	Name string
	// Address is where it takes forwarded requests, host:port.
	Address string
	// Draining says that it shuts down: it takes requests only for what it has already.
	Draining bool
	// Generation tells the processes apart that have had the name: the newer one has the higher number.
	Generation uint64
}

// ReasonNameTaken is the reason of [Store.Announce] when a newer process has the node's name (Conflict): two nodes have one
// certificate.
const ReasonNameTaken = "NODE_NAME_TAKEN"

// Store is where the nodes of a region leave their addresses (memstate, redisstate; both under statetest). It is safe for
// concurrent use. Faults are Unavailable when the store is away.
type Store interface {
	// Announce keeps n for ttl, in place of what an older process of the name has left. The fault is Conflict,
	// NODE_NAME_TAKEN if a newer one has left something.
	Announce(ctx context.Context, n Node, ttl time.Duration) error
	// Withdraw forgets n, unless another process has the name.
	Withdraw(ctx context.Context, n Node) error
	// Nodes returns all that were announced and have not run out, in any order.
	Nodes(ctx context.Context) ([]Node, error)
}
