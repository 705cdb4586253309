// SPDX-License-Identifier: Apache-2.0

// Package scim takes users and groups from identity providers (SCIM 2.0, RFC 7643 and RFC 7644), with the quirks of Entra and
// Okta, and ends what a user has who is not active any more (auth.md SC-1 to SC-3).
//
// It owns that protocol: whose a token is, what a request asks for, and the form of answers and errors. The router calls it. It
// must never know how users and teams are stored, nor decide whose a user is: that is the control plane's, through the
// directory.
package scim
