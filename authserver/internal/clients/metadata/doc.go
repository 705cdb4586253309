// SPDX-License-Identifier: Apache-2.0

// Package metadata reads what a client says about itself: the metadata of RFC 7591 §2, in a registration or in a document
// at its client_id. It is strict about the JSON, takes what the product uses, and leaves the rest out.
//
// cimd, register and clients call it. It must never know where the text came from, HTTP or the store.
package metadata
