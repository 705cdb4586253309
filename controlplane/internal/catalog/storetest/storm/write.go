// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	ownRecords    = 32 // of each writer
	sharedRecords = 16 // that all write, and so get in each other's way

	// In a thousand writes, so many …
	delayed   = 30 // wait inside the transaction,
	hurried   = 15 // have a context that ends while they are under way,
	failing   = 10 // fail by their own function,
	contended = 20 // read and write a record that all share
	shortest  = 200 * time.Microsecond
	longest   = 15 * time.Millisecond // inside a transaction
	latest    = 80 * time.Millisecond // of a context in a hurry: some end during the commit, and its outcome is unknown then
	breath    = 10 * time.Millisecond // after an error, so that a database that is away is not asked all the time
)

var errOwn = errors.New("the writer's own error")

// content is the body of a record: which attempt wrote it, and what only that attempt can have written.
type content struct {
	Run    uint64 `json:"run"`
	Writer uint64 `json:"writer"`
	N      uint64 `json:"n"`
	Proof  string `json:"proof"`
}

func (a attempt) body(name string) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %s", a.Run, a.Writer, a.N, name))
	body, _ := json.Marshal(content{Run: a.Run, Writer: a.Writer, N: a.N, Proof: hex.EncodeToString(sum[:])}) // it always marshals
	return body
}

// parse returns the attempt that a change is, or what is wrong with it.
func parse(c catalog.Change) (attempt, error) {
	if len(c.Ops) != 1 || c.Ops[0].Record == nil {
		return attempt{}, fmt.Errorf("it has %d operations", len(c.Ops))
	}
	var got content
	rec := c.Ops[0].Record
	if err := json.Unmarshal(rec.Body, &got); err != nil {
		return attempt{}, fmt.Errorf("its content cannot be read: %w", err)
	}
	a := attempt{Run: got.Run, Writer: got.Writer, N: got.N}
	if !bytes.Equal(rec.Body, a.body(rec.Name)) || rec.Version != catalog.VersionOf(rec.UID, rec.Body, rec.Blobs) {
		return attempt{}, fmt.Errorf("its content is not what %v wrote", a)
	}
	return a, nil
}

// write commits again and again.
func (s *storm) write(ctx context.Context, writer uint64) {
	dice := rand.New(rand.NewPCG(s.c.Seed^s.state.Run, writer)) //nolint:gosec // a repeatable storm
	for n := uint64(1); ctx.Err() == nil; n++ {
		s.pause.RLock()
		err := s.once(ctx, attempt{Run: s.state.Run, Writer: writer, N: n}, dice)
		s.pause.RUnlock()
		if err != nil && !errors.Is(err, errOwn) && !sleep(ctx, breath) {
			return
		}
	}
}

func (s *storm) once(ctx context.Context, a attempt, dice *rand.Rand) error {
	roll := dice.IntN(1000)
	share := func(n int) bool { roll -= n; return roll < 0 && roll >= -n }
	wait, hurry, doom, contend := share(delayed), share(hurried), share(failing), share(contended)
	key := catalog.Key{Kind: "server", Name: fmt.Sprintf("w%d-%d", a.Writer, dice.IntN(ownRecords))}
	if contend {
		key.Name = fmt.Sprintf("shared-%d", dice.IntN(sharedRecords))
	}
	pause := shortest + time.Duration(dice.Int64N(int64(longest-shortest)))
	patience := shortest + time.Duration(dice.Int64N(int64(latest-shortest)))
	// The end of the run does not cut writes off; only those do that are in a hurry.
	ctx = context.WithoutCancel(ctx)
	if hurry {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	s.ledger.begin(a, doom)
	rev, changed, err := s.c.Writers.Write(ctx, "user:storm", func(tx catalog.Tx) error {
		if contend {
			if _, err := tx.Get(ctx, key); err != nil {
				return err
			}
		}
		if wait {
			sleep(ctx, pause)
		}
		if err := tx.Put(ctx, &catalog.Record{Key: key, UID: "uid-" + key.Name, Body: a.body(key.Name)}); err != nil || !doom {
			return err
		}
		return errOwn
	})
	if err == nil && changed {
		s.ledger.acknowledge(a, rev)
		return nil
	}
	kind := fault.KindOf(err).String()
	switch {
	case errors.Is(err, errOwn):
		kind = "own"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "context"
	}
	s.ledger.fail(a, kind, err, s.round.Load())
	return err
}
