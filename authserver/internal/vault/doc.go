// SPDX-License-Identifier: Apache-2.0

// Package vault owns the secrets of the authserver: it seals them before they are stored and opens them when a node needs
// them (auth.md SE-2, SE-3).
//
// Each value gets a data key of its own (AES-256-GCM), which a key of the [envelope.KMS] seals: an envelope. The row and column a
// ciphertext belongs to are its associated data, so that one copied to another row does not open. The key file of
// [envelope.KeyFile] is the local KMS. There is no way to store or read a secret without a key, and the vault does not open while
// a stored secret needs a key that is missing.
//
// The root makes it; credentialapi calls it, and later connect and exchange. It must never know HTTP, Connect or SQL, nor who
// is allowed to ask.
package vault
