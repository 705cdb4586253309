// SPDX-License-Identifier: Apache-2.0

// Package store declares what the authserver keeps and how it is asked for: sealed secrets ([Secrets]) and the state of the
// authorization server ([OAuth]), with its audit chain.
//
// The rooms of the authserver read and write through [Store]; sqlstore implements it on PostgreSQL and SQLite, and
// storetest is the conformance suite of every implementation. It must never know a plain secret, a key, or SQL: what it
// carries is ciphertext, hashes and the names around them.
package store
