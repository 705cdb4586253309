// SPDX-License-Identifier: Apache-2.0

// Package memstore is a catalog.Store in memory: the same semantics as on a database, under the same conformance
// suite, with nothing on disk.
//
// It owns an immutable state per revision and the log of all changes. It is called by tests of rooms that need a store.
// It must never be the store of a control plane that is meant to be started again.
package memstore
