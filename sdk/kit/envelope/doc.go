// SPDX-License-Identifier: Apache-2.0

// Package envelope seals what a server keeps in its database and needs in clear later (auth.md SE-2): each value with a data key of its own
// (AES-256-GCM), which a key of a [KMS] seals. The row and column a ciphertext belongs to are its associated data, so that one copied to
// another row does not open. The key file of [KeyFile] is the local KMS.
//
// It is used by the authserver's vault, and by the control plane for the arguments of calls that wait for approval. It must never know what
// it seals, nor a database.
package envelope
