// SPDX-License-Identifier: Apache-2.0

// Package oauthrows reads and writes the rows of the authorization server's state: [Reader] is store.OAuthReader and [Tx] is
// store.OAuthTx, in one SQL text for PostgreSQL and SQLite.
//
// It owns the statements, the form of the columns and the audit chain. sqlstore begins and ends the transactions around it.
// It must never know a secret itself, only hashes, nor what a grant allows.
//
// Order of locks on PostgreSQL, so that there is no cycle: code, then grant, which stands for its whole family of tokens,
// then token; the ends of outbox and audit chain (oauth_head) last, when everything else of the transaction is done. Where
// callers make a cycle all the same, PostgreSQL gives one of them up and sqlstore runs it again.
package oauthrows
