// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// onDisk makes a client keep its state in a folder.
func onDisk(dir string) func(*node.Config) {
	return func(c *node.Config) { c.Dir, c.SealKey = dir, bytes.Repeat([]byte{3}, 32) }
}

// copied is the folder as a kill -9 at this moment would leave it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	synctest.Wait()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// nobody is a control plane that does not answer.
func nobody() *script { return &script{refuse: true} }

// TestStartFromDisk: the state is in force without any control plane (D-61), and the first Hello continues it (D-20).
func TestStartFromDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a := withBody("a", "one")
		h := sha256.Sum256([]byte("one"))
		c := &script{blobs: map[string]string{string(h[:]): "one"}, follow: func(_ int, _ *distributionv1.Hello, s server) error {
			d := &distributionv1.Delta{Epoch: "e-1", From: 5, To: 6, Upserts: []*distributionv1.Resource{user("b", "1")}, Digest: sum(a, user("b", "1"))}
			return errors.Join(snapshot(s, "e-1", 5, a), acked(s, 5), delta(s, d), acked(s, 6), wait(s))
		}}
		_, _, stop := start(t, c, onDisk(dir))
		time.Sleep(time.Minute)
		stop()
		heard := time.Now()
		time.Sleep(time.Hour)

		hellos := make(chan *distributionv1.Hello, 1)
		next := &script{refuse: true, follow: func(_ int, hello *distributionv1.Hello, s server) error {
			hellos <- hello
			return wait(s)
		}}
		client, r, _ := start(t, next, onDisk(dir))
		synctest.Wait()
		r.want(t, "full at e-1/6")
		s := client.Status()
		if !s.Loaded || s.Connected || !s.Stale || s.Revision != 6 || heard.Sub(s.LastHeartbeat).Abs() > 6*time.Second {
			t.Errorf("%+v, heard last at %s", s, heard)
		}
		next.mu.Lock()
		next.refuse = false
		next.mu.Unlock()
		hello := <-hellos
		if hello.GetEpoch() != "e-1" || hello.GetRevision() != 6 || string(hello.GetDigest()) != string(sum(a, user("b", "1"))) {
			t.Errorf("Hello %v", hello)
		}
	})
}

// TestDenialsSurviveAKill: a denial that no written state contains is enforced again after a kill -9, without any control
// plane, and forgotten when a written state contains it.
func TestDenialsSurviveAKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a := user("a", "1")
		denied := make(chan struct{})
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := errors.Join(snapshot(s, "e-1", 5, a), acked(s, 5)); err != nil {
				return err
			}
			<-denied
			if err := deny(s, 7, "a"); err != nil {
				return err
			}
			time.Sleep(time.Second)
			return errors.Join(delta(s, &distributionv1.Delta{Epoch: "e-1", From: 5, To: 7, Digest: sum(), Tombstones: []*distributionv1.ResourceKey{{Kind: "user", Name: "a"}}}), wait(s))
		}}
		_, _, stop := start(t, c, onDisk(dir))
		time.Sleep(2 * time.Second)
		close(denied)
		time.Sleep(time.Second / 2)
		killed := copied(t, dir)
		time.Sleep(2 * time.Minute)
		later := copied(t, dir)
		stop()

		client, r, stop := start(t, nobody(), onDisk(killed))
		synctest.Wait()
		r.want(t, "full at e-1/5", "deny a by 7")
		if s := client.Status(); s.DenyRevision != 7 || s.Revision != 5 {
			t.Errorf("%+v", s)
		}
		stop()
		_, r, stop = start(t, nobody(), onDisk(later))
		synctest.Wait()
		r.want(t, "full at e-1/7")
		stop()
	})
}

// TestDamagedFolder: nothing usable is no error: the node begins anew, and what bodies there are need not be fetched.
func TestDamagedFolder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a := withBody("a", "one")
		h := sha256.Sum256([]byte("one"))
		serve := func() *script {
			return &script{blobs: map[string]string{string(h[:]): "one"}, follow: func(_ int, hello *distributionv1.Hello, s server) error {
				if hello.GetRevision() != 0 || len(hello.GetDigest()) != 0 {
					t.Errorf("Hello %v", hello)
				}
				return errors.Join(snapshot(s, "e-1", 5, a), acked(s, 5), wait(s))
			}}
		}
		_, _, stop := start(t, serve(), onDisk(dir))
		time.Sleep(time.Minute)
		stop()
		states, err := filepath.Glob(filepath.Join(dir, "state.*"))
		if err != nil || len(states) == 0 {
			t.Fatalf("states %v, %v", states, err)
		}
		for _, name := range states {
			if err := os.Truncate(name, 30); err != nil {
				t.Fatal(err)
			}
		}
		c := serve()
		client, r, _ := start(t, c, onDisk(dir))
		time.Sleep(time.Second)
		synctest.Wait()
		r.want(t, "full at e-1/5")
		if c.fetched != 0 || !client.Status().Loaded {
			t.Errorf("%d bodies were fetched though they are on disk", c.fetched)
		}
	})
}

// TestWritesAreCoalesced: many changes are few writes, the last one is written soon, and an idle node writes its cursor
// rarely.
func TestWritesAreCoalesced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := errors.Join(snapshot(s, "e-1", 1, user("a", "0"))); err != nil {
				return err
			}
			for i := range uint64(1000) {
				next := user("a", fmt.Sprint(i+1))
				d := &distributionv1.Delta{Epoch: "e-1", From: i + 1, To: i + 2, Upserts: []*distributionv1.Resource{next}, Digest: sum(next)}
				if err := delta(s, d); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
			return wait(s)
		}}
		start(t, c, onDisk(dir))
		written := map[string]bool{}
		for range 1500 {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			states, err := filepath.Glob(filepath.Join(dir, "state.*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range states {
				written[filepath.Base(name)] = true
			}
		}
		if len(written) > 10 || !written["state.e-1.1001"] {
			t.Errorf("%d states were written: %v", len(written), written)
		}
	})
}

// TestFolderComesBack: a write that fails is tried again, and nothing else suffers.
func TestFolderComesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "node")
		change := make(chan struct{})
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := errors.Join(snapshot(s, "e-1", 1, user("a", "0")), acked(s, 1)); err != nil {
				return err
			}
			<-change
			d := &distributionv1.Delta{Epoch: "e-1", From: 1, To: 2, Upserts: []*distributionv1.Resource{user("b", "0")}, Digest: sum(user("a", "0"), user("b", "0"))}
			return errors.Join(delta(s, d), wait(s))
		}}
		client, r, _ := start(t, c, onDisk(dir))
		time.Sleep(2 * time.Second)
		if err := os.Rename(dir, dir+".aside"); err != nil {
			t.Fatal(err)
		}
		close(change)
		time.Sleep(time.Minute)
		r.want(t, "full at e-1/1", "delta b at e-1/2")
		if s := client.Status(); !s.Connected || s.Revision != 2 {
			t.Errorf("%+v", s)
		}
		if err := os.Rename(dir+".aside", dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "state.e-1.2")); err != nil {
			t.Error(err)
		}
	})
}

// TestFolderThatCannotBe is the one thing that ends Run.
func TestFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := node.Config{Endpoints: []string{"a"}, Applier: &recorder{}, Log: discard()}
	onDisk(filepath.Join(file, "below"))(&cfg)
	client, err := node.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Run(t.Context()); err == nil {
		t.Error("it runs")
	}
}
