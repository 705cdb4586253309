// SPDX-License-Identifier: Apache-2.0

// Package grants is the rules of grants, without HTTP and SQL: how a code becomes a grant (TK-1 to TK-3), how the refresh
// tokens of its family follow each other (TK-7 to TK-14), what a client may have without a person (TK-19) or for an identity assertion (JAG-8, JAG-15), and how all of it
// is taken back (TK-21).
//
// A refusal is an error of oauthfault whose Reason says for the audit what the client is not told. What a refusal changes,
// such as the end of a family whose token was used twice, is committed before the error is returned.
//
// tokens, revoke, introspect and, through interfaces of theirs, account and consent call it. It must never know how a client
// authenticates, nor how an access token is signed.
package grants
