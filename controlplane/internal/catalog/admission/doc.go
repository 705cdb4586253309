// SPDX-License-Identifier: Apache-2.0

// Package admission checks a resource against the others before it is stored: what it refers to exists, connections are
// installed and pinned where they may be (G-11, G-18), tools have names of their own (G-14, G-26), and an ADMIN is left.
//
// It owns the rules that need more than one resource. It is called by catalog, for every write. It must never store
// anything.
package admission
