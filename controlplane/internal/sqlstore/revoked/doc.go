// SPDX-License-Identifier: Apache-2.0

// Package revoked is the sequence of revoked access tokens in the control plane's database (D-32).
//
// It owns the tables revocation and revocation_head: commit order equals the order of the sequence, as for revisions
// (D-1), under a lock of its own. It is called by sqlstore, which begins and commits. It must never know what a token is.
package revoked
