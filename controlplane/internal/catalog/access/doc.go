// SPDX-License-Identifier: Apache-2.0

// Package access decides who may do what in the admin API: roles (gateway.md G-5, G-7), what a caller sees (G-4), whose
// connection may be pinned where (G-11), and whom a server's visibility lets in (G-18).
//
// It owns these rules as pure functions of resources and memberships. It is called by catalog, which loads both. It must
// never know of a store, nor of who may call tools: nodes decide that from their own view.
package access
