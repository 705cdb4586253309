// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
)

// fleet is a running nodesim.
type fleet struct {
	*proc.Process

	address string
}

// live is what nodesim says of its nodes.
type live struct {
	Nodes        int    `json:"nodes"`
	Connected    int    `json:"connected"`
	Loaded       int    `json:"loaded"`
	Agreed       bool   `json:"agreed"`
	MinRevision  uint64 `json:"min_revision"`
	MaxRevision  uint64 `json:"max_revision"`
	FullStates   int    `json:"full_states"`
	Rejects      int    `json:"rejects"`
	ReadBytes    int64  `json:"read_bytes"`
	WrittenBytes int64  `json:"written_bytes"`
	Handshakes   int64  `json:"handshake_bytes"` // read for TLS
}

// reached is when the last node enforced a revision, and what it denies, in nanoseconds since 1970.
type reached struct {
	Revision uint64 `json:"revision"`
	LastNS   int64  `json:"last_ns"`
	DeniedNS int64  `json:"denied_ns"`
}

func (f *fleet) ask(ctx context.Context, path string, into any) error {
	text, err := proc.Fetch(ctx, "http://"+f.address+path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func (f *fleet) live(ctx context.Context) (l live, err error) {
	err = f.ask(ctx, "/live", &l)
	return l, err
}

// reached returns all revisions above from.
func (f *fleet) reached(ctx context.Context, from uint64) (list []reached, err error) {
	err = f.ask(ctx, fmt.Sprintf("/revisions?from=%d", from), &list)
	return list, err
}

// until waits until the fleet is as wanted.
func (f *fleet) until(ctx context.Context, what string, ok func(live) bool) (l live, err error) {
	err = f.Until(ctx, 20*time.Millisecond, func(ctx context.Context) (err error) {
		if l, err = f.live(ctx); err == nil && !ok(l) {
			err = fmt.Errorf("wait until %s: %+v", what, l)
		}
		return err
	})
	return l, err
}

// at waits until all nodes enforce a revision.
func (f *fleet) at(ctx context.Context, revision uint64) (live, error) {
	return f.until(ctx, fmt.Sprintf("all are at revision %d", revision), func(l live) bool { return l.Connected == l.Nodes && l.MinRevision >= revision })
}
