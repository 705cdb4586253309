// SPDX-License-Identifier: Apache-2.0

// Package nodeapi takes what nodes send back (penstock.node.v1): results of discovery tasks and what they noticed in
// passing.
//
// It owns the matching of results to those who wait for them. It is called by nodes over gRPC and by the root, which has
// a node discover a server; status goes to the catalog. It must never change a resource itself, or know how a task
// reaches a node.
package nodeapi
