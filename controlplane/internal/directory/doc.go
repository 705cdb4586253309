// SPDX-License-Identifier: Apache-2.0

// Package directory takes what authservers change of users, teams and people's own connections (penstock.directory.v1).
//
// It owns that API: who may call it, and how faults of the catalog leave it. It is called by authservers over gRPC; the
// root fills in the catalog, and who the caller is. It must never decide who a user is: that is the catalog's.
package directory
