// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"time"
)

// RecordLife is how long the record of a session lasts in a [Store] after it was put or touched (mcp.md M-89).
const RecordLife = 30 * time.Minute

// Record is what nodes know together about a session. The bytes of fields are sealed: a store cannot read them.
type Record struct {
	Fields map[string][]byte // by name; none if nothing is known, which is no error (M-88)
	Ended  bool              // there is a tombstone
}

// Store is what nodes share about sessions, under keys that begin with the session (M-89). Its errors mean that it is
// away; then sessions go on without it (M-88).
type Store interface {
	// Load returns the record and whether the session has ended, as of one moment.
	Load(ctx context.Context, id UID) (Record, error)
	// Put sets fields of the record and leaves the others; a nil value removes one. The record lasts [RecordLife] from now.
	Put(ctx context.Context, id UID, fields map[string][]byte) error
	// Touch lets records last [RecordLife] from now, and returns the sessions that have none.
	Touch(ctx context.Context, ids []UID) (gone []UID, err error)
	// End notes that the session has ended, and removes its record and its streams. The note may be forgotten after until,
	// when its token opens nowhere.
	End(ctx context.Context, id UID, until time.Time) error
}

// Fleet is what nodes tell each other and hold one at a time.
type Fleet interface {
	Channel
	Streams
	Events
}

// Channel is the one channel over which nodes tell each other what changed (M-87).
type Channel interface {
	// Publish gives a note to all nodes that subscribe now, this one too. It does not wait for them.
	Publish(ctx context.Context, note []byte) error
	// Subscribe gives every note to take, one at a time, until ctx is canceled; then it returns nil. live is called before
	// with true each time that the subscription stands, and with false when it does not: notes may be missed then.
	Subscribe(ctx context.Context, take func(note []byte), live func(bool)) error
}

// StreamLife is how long a node owns a session's GET stream without renewing that (M-89).
const StreamLife = 30 * time.Second

// Lease is the ownership of a session's GET stream. Of two leases of a session the one with the higher generation is newer.
type Lease struct {
	Session    UID
	Generation int64
}

// Streams says which node has the GET stream of a session (M-91).
type Streams interface {
	// Own makes the node the owner, whoever was, and returns a generation that is higher than all before, and the name of the
	// owner before if there was one.
	Own(ctx context.Context, id UID, node string) (generation int64, before string, err error)
	// Renew lets leases of the node last [StreamLife] from now, also those that the store has forgotten, and returns those
	// that another owner has taken.
	Renew(ctx context.Context, node string, leases []Lease) (lost []Lease, err error)
	// Release gives a lease back, if it is still the newest.
	Release(ctx context.Context, lease Lease) error
	// Owner returns the name of the node that has the session's GET stream, empty if none has.
	Owner(ctx context.Context, id UID) (node string, err error)
}

// Entry is one change of what is kept of a stream for clients that come back for it (M-90).
type Entry struct {
	Session UID
	Stream  string
	// Head, if set, replaces what is known of the stream as a whole. It is sealed.
	Head []byte
	// Number is that of Event, from 1 on; 0 if the entry has none. Event is sealed.
	Number uint64
	Event  []byte
	// Oldest is the number of the oldest event that is kept; 0 changes nothing.
	Oldest uint64
	// Gone removes the stream.
	Gone bool
	// Place, if set, makes it an entry of no stream: Reached says how far the upstream session in that place of the client's
	// session has been heard. It is sealed, and lasts [ReachedLife].
	Place   string
	Reached []byte
}

// ReachedLife is how long it is known how far an upstream session was heard: a node that hears it later begins with what it
// says then.
const ReachedLife = time.Minute

// Buffered is a stream as the store has it. Its bytes are sealed.
type Buffered struct {
	Head   []byte // nil: the stream is not known
	Events []BufferedEvent
}

// BufferedEvent is one event of a stream.
type BufferedEvent struct {
	Number uint64
	Event  []byte
}

// Events keeps what streams have sent, so that any node can send it again (M-90).
type Events interface {
	// Append makes the changes, in order for each stream, and lets those streams last [replay.Life] from now. An entry that
	// comes twice, or late, changes nothing.
	Append(ctx context.Context, entries []Entry) error
	// Read returns the stream with its events after a number, oldest first.
	Read(ctx context.Context, id UID, stream string, after uint64) (Buffered, error)
}
