// SPDX-License-Identifier: Apache-2.0

// Package idjag is the rules by which an identity assertion (ID-JAG) is accepted: whose it is, what it has to say, and which
// gateway, scopes and user it stands for (auth.md §6a, draft-ietf-oauth-identity-assertion-authz-grant). It is free of HTTP
// and SQL.
//
// tokens calls it. It must never know how a client authenticated, how keys are fetched, or what the store looks like: that an
// assertion is used once is for grants, after everything here is found right (JAG-9).
package idjag
