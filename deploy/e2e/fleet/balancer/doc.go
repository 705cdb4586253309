// SPDX-License-Identifier: Apache-2.0

// Package balancer is a TCP load balancer as small as they come: connections go round robin to the backends, one that cannot
// be connected to is passed over. It knows which backend has which connection, so that a test can say what was in flight
// where.
//
// The fleet's end-to-end test uses it. It must never know HTTP: what works behind it works behind any balancer.
package balancer
