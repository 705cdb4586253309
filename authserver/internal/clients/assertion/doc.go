// SPDX-License-Identifier: Apache-2.0

// Package assertion checks the signed assertions with which clients authenticate, private_key_jwt (TK-17; RFC 7523 §3 as
// draft-ietf-oauth-rfc7523bis-11 changes it, OpenID Connect Core §9). It is pure: that an assertion is used once is for the
// caller to see to, with the identifier it returns.
//
// clients calls it. It must never know where the keys came from, or the store.
package assertion
