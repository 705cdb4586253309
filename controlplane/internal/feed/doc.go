// SPDX-License-Identifier: Apache-2.0

// Package feed turns the revision log into what nodes receive: one map of encoded resources, a ring of recent changes,
// and for each scope class its members, digests, snapshots, deltas and denials.
//
// It owns the translation from stored records to penstock.distribution.v1 resources, the scope rules (D-11 to D-14) and
// the encoding, which happens once for each class (D-10). It is called by distribute. It must never know of streams,
// nodes or gRPC: what it returns is bytes that a stream sends as they are.
package feed
