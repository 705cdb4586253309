// SPDX-License-Identifier: Apache-2.0

// Package compile turns resources into the form that calls are decided by, and computes what control plane and nodes
// must compute alike, such as exposed tool names.
//
// The same code runs at admission, so that a node never gets what it cannot compile (D-37), and on nodes. It is called
// by adminapi, catalog, follow and discover. It must never do I/O or know who calls.
package compile
