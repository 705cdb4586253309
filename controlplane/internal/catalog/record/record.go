// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Revision is the global order of committed changes; the first is 1 and there are no gaps.
type Revision uint64

// Hash is the SHA-256 of a blob's bytes or of a record's stored form.
type Hash [sha256.Size]byte

// Head is the newest point of a revision log.
type Head struct {
	Epoch    string // lineage of the log, a UUID
	Revision Revision
}

// Key names one record.
type Key struct {
	Kind resource.Kind
	Name string
}

// Record is the stored form of one resource.
type Record struct {
	Key
	UID        string
	Version    Hash   // of Body, UID and Blobs: equal versions are equal resources
	Body       []byte // canonical JSON of the resource without its metadata times
	Blobs      []Hash // blobs the record needs, sorted
	Lookup     string // unique second key within the kind (hex SHA-256 of a bearer token, for instance), or empty
	CreateTime time.Time
	UpdateTime time.Time
	DeleteTime time.Time // zero while the record lives; a deleted record is kept 30 days
	Revision   Revision  // that last wrote the record
}

// Op is one record's part of a change.
type Op struct {
	Key
	Version Hash // of the new state; zero for a deletion
	Delete  bool
	Record  *Record // the new state as of this change; nil for a deletion
	Before  *Record // the living state that this change replaced; nil for none. See Change.Undo
}

// Change is one committed transaction.
type Change struct {
	Revision Revision
	Actor    string // principal key of who made it, never an e-mail address
	Time     time.Time
	Atomic   bool  // all of it or nothing must be enforced
	Denials  []Key // what it takes away, for the fast lane (D-30); kind "team_member" has name "<team>/<user>"
	Ops      []Op
	Undo     bool // each operation has its Before; those of older versions do not
	Staged   bool // it went to one node first; see [Rollout]
}

// Reader reads one consistent state. Deleted records are invisible unless asked for.
type Reader interface {
	// Get returns one record, nil if there is none.
	Get(ctx context.Context, key Key) (*Record, error)
	// GetDeleted returns a softly deleted record, nil if there is none.
	GetDeleted(ctx context.Context, key Key) (*Record, error)
	// Lookup returns the record of a kind whose Lookup equals value, nil if there is none.
	Lookup(ctx context.Context, kind resource.Kind, value string) (*Record, error)
	// List returns up to limit records of a kind whose names are greater than after, in name order.
	List(ctx context.Context, kind resource.Kind, after string, limit int, deleted bool) ([]*Record, error)
	// ListPrefix returns all records of a kind whose names start with prefix, in name order.
	ListPrefix(ctx context.Context, kind resource.Kind, prefix string) ([]*Record, error)
	// Blob returns a blob's bytes, nil if there is none.
	Blob(ctx context.Context, hash Hash) ([]byte, error)
}

// Tx is a transaction that writes. What it reads it may rely on (D-2): a record it got and a list it was given are, when
// it commits, what they were when they were read: so what must be unique within a kind is, if whoever makes it lists the
// kind before. Two transactions that touch each other's ground end as if one had run after the other, or one of them
// fails as fault.Conflict. It reads what it wrote itself.
type Tx interface {
	Reader
	// Put writes a record's new state: UID, Body, Blobs and Lookup; version, times and revision are the store's. A record
	// whose UID is that of a deleted one brings it back; with another UID it takes its place. A version equal to the stored
	// one writes nothing (D-5), but still keeps every other transaction that puts the record from passing unnoticed: who
	// changes what belongs to a record (a gateway's assignments) puts the record too.
	Put(ctx context.Context, r *Record) error
	// Delete deletes a record softly; fault.NotFound if it does not live.
	Delete(ctx context.Context, key Key) error
	// PutBlob stores bytes under their hash; storing the same bytes again costs nothing.
	PutBlob(ctx context.Context, body []byte) (Hash, error)
	// Deny adds a key to the change's denials.
	Deny(key Key)
	// SetAtomic marks the change atomic.
	SetAtomic()
	// SetStaged makes the change a staged rollout (see [Rollout]): the write fails with Precondition, ROLLOUT_RUNNING, if
	// another one is running.
	SetStaged()
	// SetRollback says that the change takes everything back to a revision: a rollout of a later one ends with it.
	SetRollback(to Revision)
	// Head is the state that the transaction reads.
	Head() Head
}

// Store keeps records and the revision log. Its implementations pass storetest.
type Store interface {
	// Head returns the newest committed point.
	Head(ctx context.Context) (Head, error)
	// Read runs fn on one consistent state and tells which it is.
	Read(ctx context.Context, fn func(Head, Reader) error) error
	// Write runs fn in a transaction and commits it as one change with the next revision, assigned last (D-1). If fn wrote
	// nothing, there is no revision and the head is returned with changed false. If fn fails, nothing is stored and its
	// error is returned as it is. Fn may run several times, each time from the beginning on a newer state, when others
	// changed what it relied on; only its last run counts.
	Write(ctx context.Context, actor string, fn func(Tx) error) (rev Revision, changed bool, err error)
	// DryRun runs fn like Write and rolls back.
	DryRun(ctx context.Context, fn func(Tx) error) error
	// Changes returns up to limit changes after a revision, in order. It fails with fault.Stale if they are no longer
	// kept.
	Changes(ctx context.Context, after Revision, limit int) ([]Change, error)
	// Floor returns the oldest revision after which all changes are kept.
	Floor(ctx context.Context) (Revision, error)
	// Snapshot calls yield for every live record at one point, in (kind, name) order, and returns that point.
	Snapshot(ctx context.Context, yield func(*Record) error) (Head, error)
	// Blobs returns the bytes of the given hashes, in their order; a missing one is fault.NotFound.
	Blobs(ctx context.Context, hashes []Hash) ([][]byte, error)
	// Watch sends a hint after commits until ctx ends; hints may be lost or doubled (D-6). It returns at once.
	Watch(ctx context.Context) (<-chan struct{}, error)
	// Note keeps a small fact outside the revision log (last use of a token, state of a connection), overwriting the one
	// before (D-5).
	Note(ctx context.Context, kind, name string, body []byte) error
	// Notes returns the facts of a kind by name.
	Notes(ctx context.Context, kind string) (map[string][]byte, error)
}

// VersionOf returns the version of a record: the SHA-256 of its UID, its body and its blobs, in the order they are
// stored (sorted), each with its length in front so that no two records share a stored form.
func VersionOf(uid string, body []byte, blobs []Hash) Hash {
	h := sha256.New()
	var n [8]byte
	part := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		_, _ = h.Write(n[:]) // a hash never fails
		_, _ = h.Write(b)
	}
	part([]byte(uid))
	part(body)
	for _, b := range blobs {
		part(b[:])
	}
	return Hash(h.Sum(nil))
}

// KeepDeleted is how long a deleted record can be brought back (G-6).
const KeepDeleted = 30 * 24 * time.Hour
