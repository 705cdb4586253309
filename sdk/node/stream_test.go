// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// TestDenials: at once, ahead of what is being applied, acknowledged before that, and not at all if the state contains it
// (D-30).
func TestDenials(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := user("a", "1"), user("b", "1")
		loaded, denied := make(chan struct{}), make(chan *distributionv1.Ack, 1)
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := errors.Join(snapshot(s, "e", 5, a, b), acked(s, 5)); err != nil {
				return err
			}
			<-loaded
			d := &distributionv1.Delta{Epoch: "e", From: 5, To: 6, Upserts: []*distributionv1.Resource{user("a", "2")}, Digest: sum(user("a", "2"), b)}
			if err := errors.Join(delta(s, d), deny(s, 7, "b"), deny(s, 4, "old")); err != nil {
				return err
			}
			for {
				m, err := s.Recv()
				if err != nil {
					return err
				}
				if m.GetAck().GetDenyRevision() == 7 {
					denied <- m.GetAck()
					return wait(s)
				}
			}
		}}
		_, r, _ := start(t, c, nil)
		time.Sleep(time.Second)
		gate := make(chan struct{})
		r.mu.Lock()
		r.gate = gate
		r.mu.Unlock()
		close(loaded)
		if ack := <-denied; ack.GetRevision() != 5 {
			t.Errorf("the denial waited for the delta: %v", ack)
		}
		close(gate)
		time.Sleep(time.Second)
		r.want(t, "full at e/5", "deny b by 7", "delta a at e/6")
	})
}

// TestDenialsSurviveASnapshot: a full state that is older than a denial does not take it back.
func TestDenialsSurviveASnapshot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := user("a", "1")
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			begin := &distributionv1.SnapshotBegin{Epoch: "e", Revision: 5, Resources: 1}
			err := errors.Join(
				s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: begin}}),
				deny(s, 7, "a"), snapshotPart(s, a), snapshotEnd(s, sum(a)), acked(s, 5), beat(s, &distributionv1.Heartbeat{Epoch: "e", AdvanceTo: 9}))
			if err != nil {
				return err
			}
			return wait(s)
		}}
		client, r, _ := start(t, c, nil)
		time.Sleep(time.Second)
		r.want(t, "deny a by 7", "full at e/5", "deny a by 7", "delta at e/9")
		if s := client.Status(); s.DenyRevision != 7 || s.Revision != 9 {
			t.Errorf("%+v", s)
		}
	})
}

// TestNewEpoch: denials of another lineage are nothing in the new one (D-73).
func TestNewEpoch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := user("a", "1")
		c := &script{follow: func(n int, _ *distributionv1.Hello, s server) error {
			if n == 1 {
				return errors.Join(snapshot(s, "e", 50, a), acked(s, 50), deny(s, 99, "a"), acked(s, 50), status.Error(codes.OutOfRange, "new epoch"))
			}
			if err := snapshot(s, "f", 3, a); err != nil {
				return err
			}
			return wait(s)
		}}
		client, r, _ := start(t, c, nil)
		time.Sleep(time.Minute)
		r.want(t, "full at e/50", "deny a by 99", "full at f/3")
		if s := client.Status(); s.DenyRevision != 0 || s.Revision != 3 || s.Epoch != "f" {
			t.Errorf("%+v", s)
		}
	})
}

// TestClocks: skew is seen within a heartbeat, and order does not depend on it (D-54, failure 11).
func TestClocks(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 31 * time.Second, 29 * time.Second, -29 * time.Second} {
		t.Run(by.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
					if err := snapshot(s, "e", 5, user("a", "1")); err != nil {
						return err
					}
					return wait(s)
				}}
				client, r, _ := start(t, c, func(cfg *node.Config) { cfg.Now = func() time.Time { return time.Now().Add(by) } })
				time.Sleep(6 * time.Second)
				s := client.Status()
				if s.Skew != (by.Abs() > 30*time.Second) || s.SkewBy != by || !s.Connected || s.Stale {
					t.Errorf("%+v", s)
				}
				r.want(t, "full at e/5")
			})
		})
	}
}

// TestStale: a node that hears nothing says so and goes on (D-62), and a black hole is noticed within 15 s (failure 8).
func TestStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(n int, _ *distributionv1.Hello, s server) error {
			if n == 1 {
				if err := snapshot(s, "e", 5, user("a", "1")); err != nil {
					return err
				}
			}
			<-s.Context().Done() // says nothing any more
			return nil
		}}
		client, _, _ := start(t, c, nil)
		time.Sleep(10 * time.Second)
		if s := client.Status(); !s.Connected || s.Stale {
			t.Errorf("after 10 s: %+v", s)
		}
		time.Sleep(6 * time.Second)
		if s := client.Status(); s.Connected || s.Stale || !s.Loaded {
			t.Errorf("after 16 s: %+v", s)
		}
		time.Sleep(45 * time.Second)
		if s := client.Status(); !s.Stale || !s.Loaded || s.Revision != 5 {
			t.Errorf("after 61 s: %+v", s)
		}
	})
}

// TestBodies: a snapshot's bodies are fetched once, kept when the stream breaks meanwhile, and checked.
func TestBodies(t *testing.T) {
	body := func(text string) (string, string) {
		h := sha256.Sum256([]byte(text))
		return string(h[:]), text
	}
	a, b := withBody("a", "one"), withBody("b", "two")
	blobs := map[string]string{}
	for _, text := range []string{"one", "two"} {
		h, _ := body(text)
		blobs[h] = text
	}
	t.Run("fetched and kept", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			c := &script{blobs: blobs, follow: func(n int, _ *distributionv1.Hello, s server) error {
				if n == 1 {
					return errors.Join(snapshot(s, "e", 5, a, b), acked(s, 5))
				}
				// The same again: nothing is fetched twice.
				return errors.Join(snapshot(s, "e", 6, a, b), acked(s, 6), wait(s))
			}}
			_, r, _ := start(t, c, nil)
			time.Sleep(time.Minute)
			r.want(t, "full at e/5", "full at e/6")
			if c.fetched != 2 {
				t.Errorf("%d bodies were fetched, want 2", c.fetched)
			}
		})
	})
	t.Run("that are not what was asked for", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			c := &script{blobs: blobs, wrong: true, follow: func(_ int, _ *distributionv1.Hello, s server) error {
				return errors.Join(snapshot(s, "e", 5, a), wait(s))
			}}
			client, r, _ := start(t, c, nil)
			time.Sleep(time.Minute)
			r.want(t)
			if client.Status().Loaded || c.streams < 4 || c.streams > 40 {
				t.Errorf("%d streams in a minute, %+v", c.streams, client.Status())
			}
		})
	})
}

// TestSlowSnapshotIsNotSilence: while this node works through what it received, the control plane is not silent.
func TestSlowSnapshotIsNotSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := snapshot(s, "e", 5, user("a", "1")); err != nil {
				return err
			}
			for i := range uint64(200) { // more than the queue holds
				d := &distributionv1.Delta{Epoch: "e", From: 5 + i, To: 6 + i, Digest: sum(user("a", "1"))}
				if err := delta(s, d); err != nil {
					return err
				}
			}
			return wait(s)
		}}
		gate := make(chan struct{})
		client, r, _ := start(t, c, func(cfg *node.Config) { cfg.Applier.(*recorder).gate = gate })
		time.Sleep(2 * time.Minute)
		if s := client.Status(); s.Loaded {
			t.Errorf("%+v", s)
		}
		r.mu.Lock()
		r.gate = nil
		r.mu.Unlock()
		close(gate)
		time.Sleep(time.Second)
		if s := client.Status(); s.Revision != 205 || c.streams != 1 {
			t.Errorf("%d streams, %+v", c.streams, s)
		}
	})
}

// TestDrain: the node leaves when it is asked to, to the endpoints named first (D-41).
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var left time.Duration
		begin := time.Now()
		c := &script{follow: func(n int, _ *distributionv1.Hello, s server) error {
			if err := snapshot(s, "e", uint64(n), user("a", "1")); err != nil {
				return err
			}
			if n > 1 {
				return wait(s)
			}
			err := s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Drain{
				Drain: &distributionv1.Drain{AfterMs: 7000, Endpoints: []string{"passthrough:///named"}},
			}})
			if err != nil {
				return err
			}
			err = wait(s)
			left = time.Since(begin)
			return err
		}}
		client, _, _ := start(t, c, func(cfg *node.Config) { cfg.Endpoints = []string{"passthrough:///a", "passthrough:///b"} })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if left != 7*time.Second {
			t.Errorf("it left after %s", left)
		}
		if diff := cmp.Diff([]string{"a", "named"}, c.dialed); diff != "" {
			t.Error(diff)
		}
		if s := client.Status(); !s.Connected || s.Endpoint != "passthrough:///named" || s.Revision != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTasksWait: a job that comes while eight run has its turn.
func TestTasksWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			for range 20 {
				if err := s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Task{Task: &distributionv1.Task{Id: "x"}}}); err != nil {
					return err
				}
			}
			return wait(s)
		}}
		var ran atomic.Int32
		_, _, stop := start(t, c, func(cfg *node.Config) {
			cfg.Tasks = func(context.Context, *distributionv1.Task) {
				<-time.After(time.Second)
				ran.Add(1)
			}
		})
		<-time.After(time.Minute)
		if ran.Load() != 20 {
			t.Errorf("%d of 20 ran", ran.Load())
		}
		stop()
	})
}

// TestTasks: jobs run beside the stream, eight at most, and end with the client.
func TestTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			for range 20 {
				if err := s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Task{Task: &distributionv1.Task{Id: "x"}}}); err != nil {
					return err
				}
			}
			return wait(s)
		}}
		var running, most, ended atomic.Int32
		_, _, stop := start(t, c, func(cfg *node.Config) {
			cfg.Tasks = func(ctx context.Context, _ *distributionv1.Task) {
				most.Store(max(most.Load(), running.Add(1)))
				<-ctx.Done()
				ended.Add(1)
			}
		})
		time.Sleep(time.Minute)
		if most.Load() != 8 {
			t.Errorf("%d at a time", most.Load())
		}
		stop()
		if ended.Load() != 8 {
			t.Errorf("%d tasks ended before the client did", ended.Load())
		}
	})
}

// TestNodeService: calls go to the control plane that is followed, and fail at once without one.
func TestNodeService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{refuse: true, follow: func(_ int, _ *distributionv1.Hello, s server) error {
			return errors.Join(beat(s, &distributionv1.Heartbeat{Now: timestamppb.Now()}), wait(s))
		}}
		client, _, _ := start(t, c, nil)
		call := func() error {
			_, err := client.NodeService().ReportStatus(t.Context(), &nodev1.ReportStatusRequest{})
			return err
		}
		time.Sleep(time.Second)
		if err := call(); status.Code(err) != codes.Unavailable {
			t.Errorf("without a control plane: %v", err)
		}
		c.mu.Lock()
		c.refuse = false
		c.mu.Unlock()
		time.Sleep(time.Minute)
		if err := call(); err != nil {
			t.Errorf("with one: %v", err)
		}
	})
}

// TestAcks: the node says what it enforces at once and at least every 5 s (D-43), and its first Hello says that it has
// nothing.
func TestAcks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Duration
		begin := time.Now()
		c := &script{follow: func(_ int, h *distributionv1.Hello, s server) error {
			if h.GetProtocol() != 1 || h.GetEpoch() != "" || h.GetRevision() != 0 || len(h.GetDigest()) != 0 || h.GetBuild() != "1.2.3" ||
				!slices.Equal(h.GetCapabilities(), []string{"bearer_token"}) {
				t.Errorf("Hello %v", h)
			}
			go func() { _ = wait(s) }() // ends with the stream
			for len(at) < 5 {
				m, err := s.Recv()
				if err != nil {
					return err
				}
				if m.GetAck() == nil {
					t.Errorf("got %v", m)
				}
				at = append(at, time.Since(begin))
			}
			return nil
		}}
		start(t, c, func(cfg *node.Config) { cfg.Build, cfg.Capabilities = "1.2.3", []string{"bearer_token"} })
		time.Sleep(22 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{0, 5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second}, at); diff != "" {
			t.Error(diff)
		}
	})
}
