// SPDX-License-Identifier: Apache-2.0

// Package sqlstore keeps the authserver's data in PostgreSQL or SQLite, from one SQL text.
//
// It owns the schema (migrations/, applied by Open), the connection pools, transactions and, in sqlfault, the translation of
// driver errors into faults; the statements about the state of the authorization server are in oauthrows. The root package
// opens it and hands it out as [store.Store]; storetest checks it on both databases. In PostgreSQL everything lies in the
// schema "authserver", apart from the control plane's, so that both may share a database server and neither may read the
// other. It must never know what a secret says, nor who asks for it.
package sqlstore
