// SPDX-License-Identifier: Apache-2.0

// Package keys owns the keys that sign tokens (auth.md §12): it makes, publishes, rotates and revokes them, signs with the
// active one and verifies what any published one signed.
//
// Keys are ECDSA P-256 (ES256). A key is published as next at least an hour before it signs, so that no cache anywhere
// lacks it; when the following one takes over, it stays published until the last token it signed is over. Private keys lie
// in the store sealed by the vault, each bound to its kid (KM-5, SE-2). Several processes may share a store: each change is
// a compare-and-swap, and every process reads the others' changes within two seconds.
//
// tokens signs, introspect and revoke verify, the root serves the key set. It must never know what a token says.
package keys
