// SPDX-License-Identifier: Apache-2.0

// Package distribute serves the node stream (penstock.distribution.v1): snapshots, deltas, the fast lane of denials,
// heartbeats and tasks, and keeps the ledger of what each node enforces, here and at the other control planes.
//
// Per stream it keeps a cursor, never a queue of messages (D-25): a slow node costs no memory and delays nobody. It is
// called by nodes over gRPC, and asked by adminapi and catalog what is enforced, by catalog what the nodes can enforce,
// and by nodeapi to give a node a task; replicas tells it the followers of the other control planes. It reads feed. It must
// never read the store's resources or know what a resource means.
package distribute
