// SPDX-License-Identifier: Apache-2.0

// Package discovery is the document by which clients find the authorization server (RFC 8414, auth.md §2). It is made
// of settings, and of whether identity assertions are accepted at the moment (AS-8): nothing in it comes from a request (AS-3).
//
// The root mounts it, and hands the document to the nodes, which serve it on their own origin (AS-22). It must never know how
// anything that it lists works.
package discovery
