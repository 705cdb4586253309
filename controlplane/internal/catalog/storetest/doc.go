// SPDX-License-Identifier: Apache-2.0

// Package storetest is the conformance suite of catalog.Store.
//
// It owns what a store must do, the ordering hazard of a revision log (distribution.md, section 3) included: writers
// that commit in another order than they began, followed by a reader that must miss nothing. It is called by the tests
// of every store. It must never know how a store does it.
package storetest
