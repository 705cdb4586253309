// SPDX-License-Identifier: Apache-2.0

// Package hold keeps calls of modern clients open at legacy upstreams that ask something (mcp.md section 4.1): what the
// upstream says while nobody listens, the questions that are not answered, and who may come back for them, once.
//
//	c := hold.Start(…)                        // the upstream call runs on a goroutine of its own
//	out := c.Wait(ctx, listener)              // until it ends or asks
//	ticket, ok := table.Put(principal, c)     // the client is told; nobody listens
//	c = table.Claim(ticket.ID)                // its retry
//	c.Resume(listener, answers)               // and Wait again
//
// bridge uses it. It must never know how states are sealed, sessions, or how an upstream is spoken to.
package hold
