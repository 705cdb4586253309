// SPDX-License-Identifier: Apache-2.0

// Package clients is the OAuth clients, however they came to be known: registered by an administrator, registered by
// themselves (RFC 7591), or described by a document at their client_id (draft-ietf-oauth-client-id-metadata-document). It
// finds a client, says which redirect URIs are its own, and authenticates it at the token endpoint.
//
// authorize, consent and tokens read a [Client]. It must never know users, consent or tokens.
package clients
