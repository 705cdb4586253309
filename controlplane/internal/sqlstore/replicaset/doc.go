// SPDX-License-Identifier: Apache-2.0

// Package replicaset is the table of the control planes that share a database (D-51).
//
// It owns the table replica, whose times are the database's, so that the clocks of hosts need not agree. It is called by
// sqlstore, which begins and commits. It must never know what control planes tell each other.
package replicaset
