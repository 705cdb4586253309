// SPDX-License-Identifier: Apache-2.0

// Package revoke is the revocation endpoint (RFC 7009, TK-21): a client takes its own tokens back.
//
// The root mounts it. It must never know what a token is: grants does.
package revoke
