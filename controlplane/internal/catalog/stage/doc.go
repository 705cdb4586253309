// SPDX-License-Identifier: Apache-2.0

// Package stage is a transaction in memory, shared by the stores: it reads through a [Base], keeps what is written,
// reads it back, and at the end says what has to be stored.
//
// It owns the rules that hold for every store: what a write that changes nothing is (D-5), how soft deletion looks to a
// reader, how versions and times are made, and which rows a transaction relied on (D-2). It is called by memstore and
// sqlstore. It must never know SQL, locks or revisions: a store turns a [Plan] into a commit.
package stage
