// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// denylist takes revocations and writes down what it is told, one line for each call.
type denylist struct {
	mu    sync.Mutex
	calls [][]*distributionv1.Revocation
}

func (d *denylist) take(_ context.Context, entries []*distributionv1.Revocation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, entries)
}

func (d *denylist) want(t *testing.T, calls ...[]*distributionv1.Revocation) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.calls {
		slices.SortFunc(c, func(a, b *distributionv1.Revocation) int {
			return a.GetExpireTime().AsTime().Compare(b.GetExpireTime().AsTime())
		})
	}
	if diff := cmp.Diff(calls, d.calls, protocmp.Transform()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// revocation is of a grant that has that long to live.
func revocation(name string, life time.Duration) *distributionv1.Revocation {
	sum := sha256.Sum256([]byte(name))
	return &distributionv1.Revocation{
		Kind: distributionv1.RevocationKind_REVOCATION_KIND_GRANT, KeySha256: sum[:], ExpireTime: timestamppb.New(time.Now().Add(life)),
	}
}

func revoke(s server, epoch string, to uint64, entries ...*distributionv1.Revocation) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Revocations{
		Revocations: &distributionv1.Revocations{Epoch: epoch, ToSeq: to, Entries: entries},
	}})
}

// revokedUpTo reads until the node acknowledged a revocation.
func revokedUpTo(s server, seq uint64) error {
	for {
		m, err := s.Recv()
		if err != nil || m.GetAck().GetRevocationSeq() == seq {
			return err
		}
	}
}

type list = []*distributionv1.Revocation

// TestRevocations: they wait for no state, are told once, and move the cursor when they are enforced. Another epoch takes
// nothing back.
func TestRevocations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b, c := revocation("a", time.Minute), revocation("b", time.Hour), revocation("c", 2*time.Hour)
		old := revocation("old", 0)
		longer := revocation("a", 3*time.Hour)
		var hellos []*distributionv1.Hello
		d := &denylist{}
		client, r, _ := start(t, &script{follow: func(n int, h *distributionv1.Hello, s server) error {
			hellos = append(hellos, h)
			switch n {
			case 1:
				if err := revoke(s, "e1", 7, a, old, b); err != nil {
					return err
				}
				if err := revokedUpTo(s, 7); err != nil {
					return err
				}
				return status.Error(codes.Unavailable, "gone")
			default:
				if err := revoke(s, "e2", 2, b, c); err != nil {
					return err
				}
				if err := revoke(s, "e2", 3, longer); err != nil {
					return err
				}
				return wait(s)
			}
		}}, func(cfg *node.Config) { cfg.Revocations = d.take })
		time.Sleep(time.Minute / 2)
		synctest.Wait()
		d.want(t, list{a, b}, list{c}, list{longer})
		r.want(t) // no state was needed
		if len(hellos) != 2 || hellos[0].GetRevocationSeq() != 0 || hellos[1].GetRevocationSeq() != 7 || hellos[1].GetRevocationEpoch() != "e1" {
			t.Errorf("hellos: %v", hellos)
		}
		if s := client.Status(); s.RevocationSeq != 3 || s.Revocations != 3 {
			t.Errorf("status %+v", s)
		}
	})
}

// TestRevocationsOnDisk: a restart brings back what has not expired, before anything else and without a state, and the
// cursor with it. What is damaged is asked for anew.
func TestRevocationsOnDisk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		short, long := revocation("short", time.Minute), revocation("long", time.Hour)
		more := revocation("more", 2*time.Hour)
		var hellos []*distributionv1.Hello
		run := func(d *denylist, follow func(s server) error) {
			_, _, stop := start(t, &script{follow: func(_ int, h *distributionv1.Hello, s server) error {
				hellos = append(hellos, h)
				return follow(s)
			}}, func(cfg *node.Config) {
				onDisk(dir)(cfg)
				cfg.Revocations = d.take
			})
			time.Sleep(time.Second)
			synctest.Wait()
			stop()
		}
		first, second, third, fourth := &denylist{}, &denylist{}, &denylist{}, &denylist{}
		run(first, func(s server) error {
			if err := revoke(s, "e1", 5, short, long); err != nil {
				return err
			}
			return wait(s)
		})
		first.want(t, list{short, long})
		run(second, func(s server) error {
			if err := revoke(s, "e1", 6, more); err != nil {
				return err
			}
			return wait(s)
		})
		second.want(t, list{short, long}, list{more})
		time.Sleep(time.Minute)
		run(third, wait)
		third.want(t, list{long, more})
		name := filepath.Join(dir, "revocations")
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, long.GetKeySha256()) {
			t.Error("the file is not sealed")
		}
		content[len(content)-1] ^= 1
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		run(fourth, wait)
		fourth.want(t)
		var seqs []uint64
		for _, h := range hellos {
			seqs = append(seqs, h.GetRevocationSeq())
		}
		if !slices.Equal(seqs, []uint64{0, 5, 6, 0}) {
			t.Errorf("cursors %v", seqs)
		}
	})
}

// TestRevocationsBeforeTheState: what the disk says is revoked is so before the state on disk is enforced.
func TestRevocationsBeforeTheState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a := revocation("a", time.Hour)
		_, _, stop := start(t, &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := revoke(s, "e1", 1, a); err != nil {
				return err
			}
			if err := snapshot(s, "e1", 3, user("u", "1")); err != nil {
				return err
			}
			return wait(s)
		}}, onDisk(dir))
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		_, r, _ := start(t, nobody(), func(cfg *node.Config) {
			onDisk(dir)(cfg)
			applier := cfg.Applier.(*recorder)
			cfg.Revocations = func(_ context.Context, entries []*distributionv1.Revocation) {
				if len(entries) == 1 {
					applier.add("revoked")
				}
			}
		})
		synctest.Wait()
		r.want(t, "revoked", "full at e1/3")
	})
}

// TestMalformedRevocation ends the stream: what cannot be read might take something away.
func TestMalformedRevocation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bad := revocation("a", time.Hour)
		bad.KeySha256 = bad.GetKeySha256()[:8]
		streams := 0
		d := &denylist{}
		start(t, &script{follow: func(n int, _ *distributionv1.Hello, s server) error {
			streams = n
			if n == 1 {
				if err := revoke(s, "e1", 1, bad); err != nil {
					return err
				}
			}
			return wait(s)
		}}, func(cfg *node.Config) { cfg.Revocations = d.take })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if streams != 2 {
			t.Errorf("%d streams, want another one", streams)
		}
		d.want(t)
	})
}

// TestPublish: revocations and logins go to the control plane that is followed, revocations at most 1,000 at once.
func TestPublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{refuse: true, follow: func(_ int, _ *distributionv1.Hello, s server) error {
			return errors.Join(beat(s, &distributionv1.Heartbeat{}), wait(s))
		}}
		client, _, _ := start(t, c, nil)
		synctest.Wait()
		entries := slices.Repeat(list{revocation("a", time.Hour)}, 2001)
		if err := client.PublishRevocations(t.Context(), entries); status.Code(err) != codes.Unavailable {
			t.Errorf("without a control plane: %v", err)
		}
		c.mu.Lock()
		c.refuse = false
		c.mu.Unlock()
		time.Sleep(time.Minute)
		if err := client.PublishRevocations(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		if !slices.Equal(c.published, []int{1000, 1000, 1}) {
			t.Errorf("published %v", c.published)
		}
		c.mu.Unlock()
		answer, err := client.DirectoryService().LoginUser(t.Context(), &directoryv1.LoginUserRequest{Subject: "s"})
		if err != nil || answer.GetUserUid() != "uid of s" {
			t.Errorf("got %v, %v", answer, err)
		}
	})
}

// TestRevocationsSurviveAKill: what was acknowledged is on disk a moment later, not only at a stop.
func TestRevocationsSurviveAKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir := t.TempDir()
		a, b := revocation("a", time.Hour), revocation("b", 2*time.Hour)
		start(t, &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			return errors.Join(revoke(s, "e1", 1, a), revokedUpTo(s, 1), revoke(s, "e1", 2, b), wait(s))
		}}, onDisk(dir))
		time.Sleep(time.Second)
		killed := copied(t, dir)
		d := &denylist{}
		client, _, _ := start(t, nobody(), func(cfg *node.Config) {
			onDisk(killed)(cfg)
			cfg.Revocations = d.take
		})
		synctest.Wait()
		d.want(t, list{a, b})
		if s := client.Status(); s.RevocationSeq != 2 || s.Revocations != 2 {
			t.Errorf("status %+v", s)
		}
	})
}
