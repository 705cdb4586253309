// SPDX-License-Identifier: Apache-2.0

// Package cimd is clients whose client_id is the URL of a document about them
// (draft-ietf-oauth-client-id-metadata-document-02): which URLs may be one, whom the deployment trusts, and what a document
// must say.
//
// clients calls it. It must never know the store or what a client is used for.
package cimd
