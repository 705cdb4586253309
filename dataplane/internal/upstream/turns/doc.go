// SPDX-License-Identifier: Apache-2.0

// Package turns bounds how many calls are under way at a connection (gateway.md G-51). What comes beyond waits for its turn, for a
// moment: calls come in bursts, and a client whose call is refused does not try again.
//
// Called by upstream. It must never know what a call is.
package turns
