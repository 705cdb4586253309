// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

// TestProtocolErrors: what a control plane can do wrong on the second stream of its life ends that stream, changes
// nothing, and the third stream begins with a Hello that says what the node has.
func TestProtocolErrors(t *testing.T) {
	a := user("a", "1")
	next := &distributionv1.Delta{Epoch: "e", From: 5, To: 6, Upserts: []*distributionv1.Resource{user("b", "1")}, Digest: sum(a, user("b", "1"))}
	change := func(fn func(*distributionv1.Delta)) func(server) error {
		return func(s server) error {
			d := &distributionv1.Delta{Epoch: next.GetEpoch(), From: next.GetFrom(), To: next.GetTo(), Upserts: next.GetUpserts(), Digest: next.GetDigest()}
			fn(d)
			return delta(s, d)
		}
	}
	begin := func(s server) error {
		return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{
			SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: "e", Revision: 6, Resources: 1},
		}})
	}
	tests := map[string]func(server) error{
		"a delta from elsewhere":         change(func(d *distributionv1.Delta) { d.From = 4 }),
		"a delta of another epoch":       change(func(d *distributionv1.Delta) { d.Epoch = "f" }),
		"a delta that drifts":            change(func(d *distributionv1.Delta) { d.Digest = sum(a) }),
		"a digest that differs":          func(s server) error { return beat(s, &distributionv1.Heartbeat{Epoch: "e", Digest: sum()}) },
		"an advance of another epoch":    func(s server) error { return beat(s, &distributionv1.Heartbeat{Epoch: "f", AdvanceTo: 9}) },
		"an older snapshot":              func(s server) error { return snapshot(s, "e", 4, a) },
		"a part of no snapshot":          func(s server) error { return errors.Join(snapshotPart(s, a)) },
		"an end of no snapshot":          func(s server) error { return snapshotEnd(s, sum()) },
		"a snapshot inside another":      func(s server) error { return errors.Join(begin(s), begin(s)) },
		"a delta inside a snapshot":      func(s server) error { return errors.Join(begin(s), delta(s, next)) },
		"more resources than announced":  func(s server) error { return errors.Join(begin(s), snapshotPart(s, a, user("b", "1"))) },
		"fewer resources than announced": func(s server) error { return errors.Join(begin(s), snapshotEnd(s, sum())) },
		"a snapshot that drifts":         func(s server) error { return errors.Join(begin(s), snapshotPart(s, a), snapshotEnd(s, sum())) },
		"a snapshot inside a delta": func(s server) error {
			return errors.Join(change(func(d *distributionv1.Delta) { d.More = true })(s), begin(s))
		},
		"a resource without a version": change(func(d *distributionv1.Delta) { d.Upserts = []*distributionv1.Resource{{Kind: "user", Name: "b"}} }),
		"a body that does not exist": change(func(d *distributionv1.Delta) {
			d.Upserts[0] = withBody("b", "x")
			d.Digest = sum(a, withBody("b", "x"))
		}),
		"a message of 20 MB": change(func(d *distributionv1.Delta) { d.Blobs = [][]byte{make([]byte, 20<<20)} }),
		"silence":            func(s server) error { <-s.Context().Done(); return nil },
		"the end":            func(server) error { return status.Error(codes.OutOfRange, "say Hello again") },
	}
	for name, wrong := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				next.Upserts = []*distributionv1.Resource{user("b", "1")}
				third := make(chan *distributionv1.Hello, 1)
				c := &script{follow: func(n int, hello *distributionv1.Hello, s server) error {
					switch n {
					case 1:
						if err := snapshot(s, "e", 5, a); err != nil {
							return err
						}
						return acked(s, 5) // then the stream breaks
					case 2:
						if err := wrong(s); err != nil {
							return err
						}
						return wait(s)
					default:
						third <- hello
						return wait(s)
					}
				}}
				_, r, _ := start(t, c, nil)
				var h *distributionv1.Hello
				select {
				case h = <-third:
				case <-time.After(time.Hour):
					t.Fatal("the stream goes on")
				}
				if h.GetEpoch() != "e" || h.GetRevision() != 5 || string(h.GetDigest()) != string(sum(a)) {
					t.Errorf("third Hello %v", h)
				}
				r.want(t, "full at e/5")
			})
		})
	}
}

func snapshotPart(s server, resources ...*distributionv1.Resource) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{
		SnapshotPart: &distributionv1.SnapshotPart{Resources: resources},
	}})
}

func snapshotEnd(s server, digest []byte) error {
	return s.Send(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{
		SnapshotEnd: &distributionv1.SnapshotEnd{Digest: digest},
	}})
}

// TestConfig: what is missing is said.
func TestConfig(t *testing.T) {
	full := node.Config{Endpoints: []string{"a:1"}, Applier: &recorder{}, Log: slog.New(slog.DiscardHandler), Dir: "d", SealKey: make([]byte, 32)}
	for name, change := range map[string]func(*node.Config){
		"endpoint": func(c *node.Config) { c.Endpoints = nil },
		"applier":  func(c *node.Config) { c.Applier = nil },
		"logger":   func(c *node.Config) { c.Log = nil },
		"seal key": func(c *node.Config) { c.SealKey = make([]byte, 16) },
	} {
		cfg := full
		change(&cfg)
		if _, err := node.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if _, err := node.New(full); err != nil {
		t.Error(err)
	}
}

// TestUnknownMessages: what a later release sends beside the protocol is ignored.
func TestUnknownMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			m := &distributionv1.FollowResponse{}
			m.ProtoReflect().SetUnknown([]byte{0x9a, 0x06, 0x01, 0x00}) // field 99
			if err := errors.Join(s.Send(m), snapshot(s, "e", 5, user("a", "1"))); err != nil {
				return err
			}
			return wait(s)
		}}
		_, r, _ := start(t, c, nil)
		time.Sleep(time.Minute)
		r.want(t, "full at e/5")
		if c.streams != 1 {
			t.Errorf("%d streams", c.streams)
		}
	})
}

// TestBackoff: full jitter between 0 and a limit that doubles from 100 ms to 15 s, over the list of endpoints (D-40,
// D-41).
func TestBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var limits []time.Duration
		c := &script{refuse: true, follow: func(_ int, _ *distributionv1.Hello, s server) error { return wait(s) }}
		client, _, _ := start(t, c, func(cfg *node.Config) {
			cfg.Endpoints = []string{"passthrough:///a", "passthrough:///b", "passthrough:///c"}
			cfg.Jitter = func(limit time.Duration) time.Duration {
				mu.Lock()
				defer mu.Unlock()
				limits = append(limits, limit)
				return limit
			}
		})
		time.Sleep(2 * time.Minute)
		mu.Lock()
		got := slices.Clone(limits[:10])
		mu.Unlock()
		want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
		c.mu.Lock()
		if diff := cmp.Diff([]string{"a", "b", "c", "a", "b", "c"}, c.dialed[:6]); diff != "" {
			t.Errorf("dialed (-want +got):\n%s", diff)
		}
		c.refuse = false
		c.mu.Unlock()
		if s := client.Status(); s.Connected || s.Loaded || !s.Stale {
			t.Errorf("status %+v", s)
		}
		time.Sleep(20 * time.Second)
		if s := client.Status(); !s.Connected || s.Stale || s.Endpoint == "" {
			t.Errorf("status %+v", s)
		}
	})
}

// tooLong rejects with texts that the protocol does not take.
type tooLong struct{ recorder }

func (r *tooLong) Apply(_ context.Context, s node.State, _ []node.Key, _ bool) []node.Reject {
	version := s.Get("user", "a").GetVersion()
	return []node.Reject{{Key: node.Key{Kind: "user", Name: "a"}, Version: version, Reason: strings.Repeat("R", 500), Detail: strings.Repeat("ä", 5000)}}
}

// TestLongRejects: texts are cut to what the protocol takes, between characters.
func TestLongRejects(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var item *distributionv1.RejectItem
		c := &script{follow: func(_ int, _ *distributionv1.Hello, s server) error {
			if err := snapshot(s, "e", 5, user("a", "1")); err != nil {
				return err
			}
			for item == nil {
				m, err := s.Recv()
				if err != nil {
					return err
				}
				if items := m.GetReject().GetItems(); len(items) > 0 {
					item = items[0]
				}
			}
			return wait(s)
		}}
		client, _, _ := start(t, c, func(cfg *node.Config) { cfg.Applier = &tooLong{} })
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(item.GetReason()); n == 0 || n > 128 {
			t.Errorf("a reason of %d bytes", n)
		}
		if n := len([]rune(item.GetDetail())); len(item.GetDetail()) > 2048 || n < 1000 || strings.Trim(item.GetDetail(), "ä") != "" {
			t.Errorf("a detail of %d bytes", len(item.GetDetail()))
		}
		if client.Status().Rejects != 1 {
			t.Errorf("%+v", client.Status())
		}
	})
}
