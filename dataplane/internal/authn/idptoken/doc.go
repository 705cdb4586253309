// SPDX-License-Identifier: Apache-2.0

// Package idptoken reads and checks the tokens that an identity provider issued for a gateway: signed JWTs (RFC 7519) of
// many makers, by auth.md §7 (JW-1 to JW-5) and RFC 8725. It is lenient where makers differ, and strict in what tells such
// a token from one for somebody else or for something else.
//
// authn uses it. It must never know where keys come from, who has an account, or what a token gives access to.
package idptoken
