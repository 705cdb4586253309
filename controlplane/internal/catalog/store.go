// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/penstockhq/penstock/controlplane/internal/catalog/record"

// How resources are kept; see package record.
type (
	// Revision is the global order of committed changes; the first is 1 and there are no gaps.
	Revision = record.Revision
	// Hash is the SHA-256 of a blob's bytes or of a record's stored form.
	Hash = record.Hash
	// Head is the newest point of a revision log.
	Head = record.Head
	// Key names one record.
	Key = record.Key
	// Record is the stored form of one resource.
	Record = record.Record
	// Op is one record's part of a change.
	Op = record.Op
	// Change is one committed transaction.
	Change = record.Change
	// Reader reads one consistent state.
	Reader = record.Reader
	// Tx is a transaction that writes.
	Tx = record.Tx
	// Rollout is the staged rollout of a deployment.
	Rollout = record.Rollout
	// Rollouts keeps the rollout. Stores implement it.
	Rollouts = record.Rollouts
	// Store keeps records and the revision log. Its implementations pass storetest.
	Store = record.Store
)

// The stages of a rollout.
const (
	StageOne     = record.StageOne
	StageTenth   = record.StageTenth
	StageAll     = record.StageAll
	StageStopped = record.StageStopped
)

// KeepDeleted is how long a deleted record can be brought back (G-6).
const KeepDeleted = record.KeepDeleted

// VersionOf returns the version of a record with these contents.
func VersionOf(uid string, body []byte, blobs []Hash) Hash { return record.VersionOf(uid, body, blobs) }
