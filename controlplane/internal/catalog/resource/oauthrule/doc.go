// SPDX-License-Identifier: Apache-2.0

// Package oauthrule says what is wrong with the redirect URIs and the key sets of OAuth clients, and with the private keys that Penstock
// authenticates with as one.
//
// It owns the rules of REG-6 and REG-7 for clients that an administrator registers. It is called by package resource. It
// must never know of resources, and never fetch anything.
package oauthrule
