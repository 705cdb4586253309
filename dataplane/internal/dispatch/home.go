// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/call"
)

// Homes says on which node the processes and stateful sessions of a connection and a principal live (forward/home room).
type Homes interface {
	// Of returns the node, empty if it is this one, or if nobody knows. In steady state it waits for nobody.
	Of(ctx context.Context, key string) (node string)
}

// Home returns the node that has to run a call: where its server's process or session of the principal is (M-94). It is empty
// for all calls that any node can run, for those that this one has to refuse, and for those whose caller presented a token that is
// exchanged for the credential.
func (d *Dispatcher) Home(ctx context.Context, c call.Caller, k call.Call) (node string) {
	if d.Homes == nil {
		return ""
	}
	d.behindDoor(&c, &k)
	t, err := d.find(&c, &k)
	if err != nil || t.empty {
		return ""
	}
	server, connection, err := locate(&c, &t)
	if err != nil || !server.Homed || exchanges(server, &c) { // what was presented here goes to no other node
		return ""
	}
	if server.Stateless { // shared by all that use the connection (M-59)
		return d.Homes.Of(ctx, connection.UID)
	}
	return d.Homes.Of(ctx, connection.UID+":"+c.Principal.Key())
}
