// SPDX-License-Identifier: Apache-2.0

// Package facts keeps what changes often and never enters the revision log (distribution.md D-5): last uses of tokens,
// outcomes of calls over connections, times and failures of discoveries.
//
// It owns these notes and what they say about a resource's status. It is called by catalog. It must never decide
// anything by them.
package facts
