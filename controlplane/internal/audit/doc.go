// SPDX-License-Identifier: Apache-2.0

// Package audit is what was done and by whom (G-60): tool calls, which nodes hand in, and writes through the admin API.
//
// It owns the form of events, who may read which, and how long they are kept. nodeapi and adminapi call it, sqlstore stores. Storing
// takes transactions of its own: a write of the configuration neither waits for one nor fails with it. It holds no arguments, results
// or values of fields, and must never know a transport.
package audit
