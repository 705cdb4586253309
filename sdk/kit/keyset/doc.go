// SPDX-License-Identifier: Apache-2.0

// Package keyset keeps the public keys of one issuer that an administrator named: fetched through kit/egress and bounded,
// renewed in the background, kept while the issuer does not answer, and asked for anew when a token names a key that is not
// known (auth.md JW-6 to JW-10).
//
// It owns where keys come from and how long they count. Nodes use it to check tokens of identity providers. It must never
// know a token, a claim or a caller, and it believes nothing that a token says of its key but the kid.
package keyset
