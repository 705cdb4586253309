// SPDX-License-Identifier: Apache-2.0

// Package revert reads from the revision log what the records were at an older revision.
//
// It owns which records go back and which never do: people, teams and tokens stay, and so do secrets (see [Goes] and
// [Keep]). It is called by catalog, for rollbacks. It must never write.
package revert
