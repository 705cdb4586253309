// SPDX-License-Identifier: Apache-2.0

package taint

import (
	"context"
	"time"
)

const (
	// idle is how long a context without an end of its own stays untrusted after its last use (G-33).
	idle = 30 * time.Minute
	// flushEvery is how often uses that needed no answer get to the store.
	flushEvery = 10 * time.Second
	// Window is idle for a store: a node may hold a use back for that long.
	Window = idle + 3*flushEvery
	// Kept is how long a store keeps the mark of a context with a window after its last use: a use that could not be told at the time
	// still renews it.
	Kept = 2 * idle
	// Life is how long sessions and handles live, and so their marks.
	Life = 24 * time.Hour
	// MaxSources bounds the servers that are named for a context; of one with that many there may be others.
	MaxSources = 16
)

// Key is what a mark is kept under.
type Key struct {
	ID string // of lower-case letters, digits, "-" and "~"
	// Window says that the mark ends when it was not used for [Window]; otherwise it lasts [Life].
	Window bool
}

// Mark is what a store knows of a key.
type Mark struct {
	Untrusted bool
	Sources   []string // servers, in the order in which they came; at most MaxSources
	// Reach is since when no mark of this key can have been lost, as a time back from now. What was marked before that may be
	// forgotten.
	Reach time.Duration
}

// Use says that a key with a window was used.
type Use struct {
	ID  string
	Ago time.Duration
}

// Store keeps marks for all nodes. What one call of it has returned, each later one sees, on whatever node. It is safe for
// concurrent use. Faults are Unavailable when it is away.
type Store interface {
	// Read returns what is known of each key, in their order. It is a use of them.
	Read(ctx context.Context, keys []Key) ([]Mark, error)
	// Mark makes all keys untrusted because of a server; an empty one names none.
	Mark(ctx context.Context, keys []Key, server string) error
	// Touch notes uses. What is not marked stays so.
	Touch(ctx context.Context, uses []Use) error
	// Watch looks whether data was lost; it is called all the time, so that Reach begins soon after a loss and not with the next call.
	// It returns the least Reach of all keys.
	Watch(ctx context.Context) (reach time.Duration, err error)
}
