// SPDX-License-Identifier: Apache-2.0

// Package heldtest reads and changes what lies in the tables of approvals, for tests of who has the database but no key.
//
// It is called by tests of rooms above the store. It must never be linked into a server.
package heldtest
