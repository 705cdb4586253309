// SPDX-License-Identifier: Apache-2.0

// Package audited is the tables of the audit: events, how much of each node's queues they hold, and their newest number.
//
// sqlstore calls it within transactions. It must never know who may read an event.
package audited
