// SPDX-License-Identifier: Apache-2.0

// Package remote gets JSON documents from URLs that somebody else chose, and keeps them: guarded addresses, no redirects,
// bounded size, time, rate and concurrency, one request at a time for a URL, and a cache that holds good documents only
// (CIMD-3 to CIMD-8).
//
// cimd gets client metadata with it, clients gets key sets. It must never know what a document says.
package remote
