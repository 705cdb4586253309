// SPDX-License-Identifier: Apache-2.0

// Package redisstate keeps what nodes share in Redis (mcp.md M-89): the only room of the data plane that knows its keys and
// scripts. Nothing here is the only copy of something that must survive (architecture.md §3).
//
// Each type implements a Store that another room declares, under the suite of statetest. Keys begin with "pst:"; those that
// one script or transaction touches share a hash tag, so that a cluster keeps them together. Time is the server's. The root
// makes them. It must never know requests or messages.
package redisstate
