// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgserver"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// TestLostNotifications is failure 15: whoever listens for notifications is thrown out again and again, and nothing is missed.
func TestLostNotifications(t *testing.T) {
	dsn := pgtest.New(t)
	d := deploy(t, dsn, 2, nil)
	nodes := []*member{d.join("n0", 0), d.join("n1", 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var deaf sync.WaitGroup
	defer deaf.Wait()
	defer cancel()
	thrown := 0
	deaf.Go(func() {
		var err error
		if thrown, err = pgserver.Deafen(ctx, dsn); err != nil {
			t.Error(err)
		}
	})
	for i := range 10 {
		rev := d.cps[i%2].mustWrite(fmt.Sprintf("team%d", i))
		d.cps[(i+1)%2].enforcedBy(rev, nodes)
	}
	cancel()
	deaf.Wait()
	if thrown == 0 {
		t.Error("nobody listened")
	}
}

// TestDatabaseDown: while PostgreSQL is stopped, streams go on and new ones begin, what is in memory is shown, and writes
// fail; when it is back, everything works without a restart, and no control plane takes the others for gone.
func TestDatabaseDown(t *testing.T) {
	postgres := pgtest.Own(t)
	dsn, err := postgres.Create(t.Context(), "outage")
	if err != nil {
		t.Fatal(err)
	}
	d := deploy(t, dsn, 2, nil)
	nodes := []*member{d.join("n0", 0), d.join("n1", 1)}
	for _, c := range d.cps {
		c.enforcedBy(c.mustWrite("before-"+c.name), nodes)
	}
	postgres.Halt()
	if _, err := d.cps[0].write("lost"); !admin.IsUnavailable(err) {
		t.Errorf("a write without a database: %v", err)
	}
	nodes = append(nodes, d.join("n2", 0)) // from memory
	eventually(t, "a new node has the state", func() bool { return nodes[2].client.Status().Loaded })
	for _, n := range nodes {
		if !n.client.Status().Connected {
			t.Errorf("%s is not connected", n.name)
		}
	}
	if err := postgres.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rev uint64
	tries := 0
	eventually(t, "writes again", func() bool {
		tries++ // another name each time: the answer to a write may be lost with its connection
		var err error
		rev, err = d.cps[0].write(fmt.Sprintf("after%d", tries))
		return err == nil
	})
	for _, c := range d.cps {
		c.enforcedBy(rev, nodes)
	}
}

// TestRestoredDatabase is failure 9: the database is restored to an older point. Writes and streams freeze, also at a control
// plane that starts only then, and no node goes back. After a new epoch every node takes one full state, and all have the
// same.
func TestRestoredDatabase(t *testing.T) {
	dsn := pgtest.New(t)
	d := deploy(t, dsn, 3, nil)
	nodes := []*member{d.join("n0", 0), d.join("n1", 1), d.join("n2", 2)}
	kept := d.cps[0].mustWrite("kept")
	d.cps[0].enforcedBy(kept, nodes)
	// offline does something with the database while nobody can reach it.
	offline := func(do func(ctx context.Context, dsn, backup string) error) {
		t.Helper()
		for _, c := range d.cps {
			c.database.sever()
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := do(ctx, dsn, "backup"); err != nil {
			t.Fatal(err)
		}
		for _, c := range d.cps {
			c.database.mend()
		}
	}
	offline(pgserver.Save)
	var lost uint64
	eventually(t, "the database again", func() bool {
		var err error
		lost, err = d.cps[1].write("lost")
		return err == nil
	})
	d.cps[1].enforcedBy(lost, nodes)
	offline(pgserver.Restore)

	for i, c := range d.cps {
		if i == 2 { // one that has seen nothing of it
			c.stop()
			c.launch() // it is not ready before there is a new epoch
		}
		eventually(t, c.name+" freezes writes", func() bool {
			_, err := c.write(fmt.Sprintf("over-%d", i))
			f, ok := admin.AsError(err)
			if err == nil {
				t.Fatalf("%s wrote over what was lost", c.name)
			}
			return ok && admin.IsPrecondition(err) && f.Reason == "REVISIONS_LOST"
		})
	}
	for _, n := range nodes {
		if s := n.client.Status(); s.Revision != lost || n.fulls() != 1 {
			t.Errorf("%s is at revision %d after %d full states", n.name, s.Revision, n.fulls())
		}
	}

	settings := d.cps[0].settings
	settings.Database = obs.Secret(dsn)
	for revision, want := range map[string]string{fmt.Sprint(lost): "EPOCH_HEAD_DIFFERS", "x": controlplane.ReasonConfig} {
		settings.Epoch.New = revision
		if err := controlplane.NewEpoch(t.Context(), settings, quiet()); reason(err) != want {
			t.Errorf("new epoch at %s: %v", revision, err)
		}
	}
	settings.Epoch.New = fmt.Sprint(kept)
	if err := controlplane.NewEpoch(t.Context(), settings, quiet()); err != nil {
		t.Fatal(err)
	}
	var rev uint64
	eventually(t, "writes again", func() bool {
		var err error
		rev, err = d.cps[2].write("again")
		return err == nil
	})
	for _, c := range d.cps {
		eventually(t, "all nodes, as "+c.name+" says", func() bool { return c.wait(rev, time.Second).GetEnforced() && spread(c.picture())[""] == 0 })
		c.enforcedBy(rev, nodes)
		if _, err := c.api.Teams.GetTeam(t.Context(), &adminv1.GetTeamRequest{Name: "lost"}); !admin.IsNotFound(err) {
			t.Errorf("%s shows what was lost: %v", c.name, err)
		}
	}
	first := nodes[0].client.Status()
	for _, n := range nodes {
		if s := n.client.Status(); s.Epoch != first.Epoch || s.Digest != first.Digest || s.Revision != rev || n.fulls() != 2 {
			t.Errorf("%s: %d full states, %+v", n.name, n.fulls(), s)
		}
	}
}
