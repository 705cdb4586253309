// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/node"
)

// TestLeavers is SC-2 for whoever deactivates somebody: what the user had ends, after a failure too, and nobody else's.
func TestLeavers(t *testing.T) {
	f := directory.NewFollower("https://gw.example.com")
	apply := func(s state) {
		if rejects := f.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
			t.Fatal(rejects)
		}
	}
	apply(people())
	ctx, cancel := context.WithCancel(t.Context())
	ended, asked, failed := make(chan error, 1), make(chan string), false
	l := &leavers{follower: f, log: slog.New(slog.DiscardHandler), retry: 10 * time.Millisecond, revoke: func(_ context.Context, user string) error {
		if !failed {
			failed = true
			return errors.New("the store is away")
		}
		asked <- user
		return nil
	}}
	go func() { ended <- l.run(ctx) }()
	off, gone := people(), people()
	ada := node.Key{Kind: "user", Name: "ada@example.com"}
	off[ada].GetUser().Deactivated = true
	delete(gone, ada)
	for name, s := range map[string]state{"deactivated": off, "deleted": gone} {
		apply(people()) // she is there, or back: nothing ends
		apply(s)
		if got := <-asked; got != "uid-ada" {
			t.Errorf("%s: what %q had ended", name, got)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
