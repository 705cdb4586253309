// SPDX-License-Identifier: Apache-2.0

// Package storetest is the conformance suite of [store.Store]: every implementation passes [Run] and [RunOAuth], on every
// database it supports. It owns what the interface promises; it must never know SQL or which implementation it checks.
package storetest
