// SPDX-License-Identifier: Apache-2.0

// Package distribute serves the node stream (penstock.distribution.v1): snapshots, deltas, the fast lane of denials,
// heartbeats and tasks, and keeps the ledger of what each node enforces.
//
// Per stream it keeps a cursor, never a queue of messages (D-25): a slow node costs no memory and delays nobody. It is
// called by nodes over gRPC, and asked by adminapi and catalog what is enforced and by nodeapi to give a node a task. It
// reads feed. It must never read the store's resources or know what a resource means.
package distribute
