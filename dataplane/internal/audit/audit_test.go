// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func check(t *testing.T, when string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// TestFields: everything of an event arrives, in the words of penstock.node.v1; text of others is bounded and made UTF-8.
func TestFields(t *testing.T) {
	full := call.AuditEvent{
		Time: time.Unix(1_800_000_000, 5000),
		Principal: ident.Principal{
			Kind: ident.KindTeam, UID: "t1", Name: "eng", Method: "bearer_token", TokenID: strings.Repeat("j", 300), ClientID: "c\xff1",
			Scopes: []string{"mcp"},
		},
		Gateway: "eng", GatewayUID: "g1", Server: "ev", Upstream: "echo", Requested: "Echo", RunTool: true, Connection: "shared",
		OwnerKind: compile.OwnerTeam, Owner: "eng", Outcome: call.OutcomeRefused, Reason: "POLICY_BLOCKED", Policy: "no-writes", Action: "BLOCK",
		InGateway: 1500 * time.Nanosecond, OnCredential: 2 * time.Millisecond, OnUpstream: 3 * time.Second, RequestBytes: 10, ResponseBytes: 20,
		Revision: 7, TraceID: [16]byte{0: 0xab, 15: 1}, RequestID: "r-1", ClientName: "cli", ClientVersion: "2", Version: "2025-11-25",
	}
	var c encoder
	got := c.fill(&taken{full, 3})
	want := &nodev1.ToolCallEvent{
		Time: timestamppb.New(full.Time),
		Principal: &nodev1.AuditPrincipal{
			Kind: "team", Uid: "t1", Name: "eng", AuthMethod: "bearer_token", TokenId: strings.Repeat("j", 256), ClientId: "c1",
		},
		Gateway: "eng", GatewayUid: "g1", Tool: "ev/echo", RequestedName: "Echo", Door: "run_tool", Server: "ev", Connection: "shared",
		ConnectionOwner: "team:eng", Outcome: "refused", Reason: "POLICY_BLOCKED", Policy: "no-writes", PolicyAction: "BLOCK", GatewayUs: 1,
		CredentialUs: 2000, UpstreamUs: 3_000_000, RequestBytes: 10, ResponseBytes: 20, Revision: 7,
		TraceId: "ab000000000000000000000000000001", RequestId: "r-1", ClientName: "cli", ClientVersion: "2", ProtocolVersion: "2025-11-25",
		DroppedBefore: 3,
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The message is used again: nothing of the event before is left.
	got = c.fill(&taken{call.AuditEvent{Time: full.Time, Upstream: "search_tools", OwnerKind: compile.OwnerUser, Owner: "ada@example.com"}, 0})
	want = &nodev1.ToolCallEvent{
		Time: timestamppb.New(full.Time), Principal: &nodev1.AuditPrincipal{}, Tool: "search_tools", Door: "direct", ConnectionOwner: "ada@example.com",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("the next (-want +got):\n%s", diff)
	}
	for kind, want := range map[compile.OwnerKind]string{
		0: "", compile.OwnerOrganization: "organization", compile.OwnerServiceAccount: "service_account:x",
	} {
		if got := owner(kind, "x"); got != want {
			t.Errorf("owner %d is %q", kind, got)
		}
	}
}

// TestDelivery: events arrive once and in order, whether the control plane is there, away for a while, or stores a batch and is not
// heard; across restarts, and when the note of what it has is lost.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, p := t.TempDir(), &plane{}
		n := start(t, config(dir, p))
		n.record(numbered(0, 3)...)
		settle()
		check(t, "with a control plane", p.names(), numbered(0, 3))

		p.answer(errAway, false)
		n.record(numbered(3, 1200)...)
		settle()
		check(t, "while it is away", p.names(), numbered(0, 3))
		if held := n.queue.held(); held < 1200*50 {
			t.Errorf("the queue holds %d bytes", held)
		}
		p.answer(nil, false)
		settle()
		check(t, "when it is back", p.names(), numbered(0, 1203))
		if p.batches > 5 || n.queue.held() != 0 || !strings.Contains(n.log.String(), "not taken by the control plane") {
			t.Errorf("%d batches, %d bytes left, log:\n%s", p.batches, n.queue.held(), n.log)
		}

		p.answer(errAway, true)
		n.record(numbered(1203, 10)...)
		settle()
		n.stop()
		p.answer(nil, false)
		n = start(t, config(dir, p))
		n.record(numbered(1213, 10)...)
		settle()
		n.stop()
		check(t, "stored and not heard, then a restart", p.names(), numbered(0, 1223))

		if err := os.Remove(filepath.Join(dir, cursorName)); err != nil {
			t.Fatal(err)
		}
		n = start(t, config(dir, p))
		n.record(numbered(1223, 1)...)
		settle()
		n.stop()
		check(t, "without the note", p.names(), numbered(0, 1224))
	})
}

// TestKilled: what an earlier process has written is handed in, to the last whole record, wherever the machine stopped in it.
func TestKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := start(t, config(dir, &plane{err: errAway}))
		n.record(numbered(0, 5)...)
		time.Sleep(2 * linger) // and no more: nothing else was done when the process was killed
		synctest.Wait()
		files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v, %v", files, err)
		}
		written, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		n.stop()
		record := (len(written) - headerSize) / 5
		for cut := range record + headerSize + 1 {
			dir, p := t.TempDir(), &plane{}
			keep := len(written) - cut
			if cut > record {
				keep = record + headerSize - cut // of the header alone
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), written[:keep], 0o600); err != nil {
				t.Fatal(err)
			}
			n := start(t, config(dir, p))
			n.record("after")
			settle()
			n.stop()
			want := append(numbered(0, 4), "after")
			switch {
			case cut == 0:
				want = append(numbered(0, 5), "after")
			case cut > record:
				want = []string{"after"}
			}
			check(t, "cut by "+time.Duration(cut).String(), p.names(), want)
		}
		spoiled := slices.Clone(written)
		spoiled[len(spoiled)-1] ^= 1
		dir, p := t.TempDir(), &plane{}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		n = start(t, config(dir, p))
		settle()
		n.stop()
		check(t, "with a wrong bit", p.names(), numbered(0, 4))
		if !strings.Contains(n.log.String(), "ends in a torn record") {
			t.Errorf("log: %s", n.log)
		}
	})
}

// TestSegments: a segment that the control plane has is removed, and a new one begun where one is full.
func TestSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, p := t.TempDir(), &plane{err: errAway}
		n := start(t, config(dir, p))
		n.queue.roll = 1000
		for i := range 20 {
			n.record(numbered(10*i, 10)...)
			time.Sleep(time.Second)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
		if len(files) < 10 {
			t.Errorf("%d segments", len(files))
		}
		n.stop()
		n = start(t, config(dir, p))
		p.answer(nil, false)
		settle()
		check(t, "from many segments", p.names(), numbered(0, 200))
		files, _ = filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
		if len(files) != 0 {
			t.Errorf("left: %v", files)
		}
		n.record(numbered(200, 1)...)
		settle()
		n.stop()
		check(t, "and on", p.names(), numbered(0, 201))
	})
}

// TestFull: what a full queue does, by setting, and that it ends when the control plane is back.
func TestFull(t *testing.T) {
	for _, tt := range []struct {
		full            Full
		refused         bool
		kept            []string // of what came while it was full: a call that was in flight, and one that was refused
		lost            int64
		refusedDropped0 uint64
	}{
		{Drop, false, nil, 2, 2},
		{Block, true, []string{"in-flight"}, 1, 1},
	} {
		t.Run(string(tt.full), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &plane{err: errAway}
				c := config(t.TempDir(), p)
				c.Full, c.MaxBytes = tt.full, 1000
				n := start(t, c)
				defer n.stop()
				if err := n.Admit(); err != nil {
					t.Fatal(err)
				}
				n.record(numbered(0, 20)...)
				time.Sleep(time.Second)
				err := n.Admit()
				if f := fault.From(err); (err != nil) != tt.refused || err != nil && (f.Kind != fault.Unavailable || f.Reason != ReasonFull || f.Retry <= 0) {
					t.Errorf("a call is admitted with %v", err)
				}
				n.record("in-flight")
				refused := event("refused")
				refused.Outcome, refused.Reason = call.OutcomeRefused, ReasonFull
				n.Record(refused)
				if got := n.lost.Load(); got != tt.lost {
					t.Errorf("%d are lost", got)
				}
				p.answer(nil, false)
				settle()
				if err := n.Admit(); err != nil {
					t.Errorf("there is room again, and a call is admitted with %v", err)
				}
				n.record("after")
				settle()
				check(t, "all", p.names(), append(append(numbered(0, 20), tt.kept...), "after"))
				if last := p.events[len(p.events)-1]; last.GetDroppedBefore() != tt.refusedDropped0 {
					t.Errorf("the event after says that %d were dropped", last.GetDroppedBefore())
				}
				if log := n.log.String(); !strings.Contains(log, "audit queue is full") || !strings.Contains(log, "room again") {
					t.Errorf("log: %s", log)
				}
			})
		})
	}
}

// TestDiskFails: events wait in memory while the disk does not take them, as in a full queue, and are written when it does again.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, p := filepath.Join(t.TempDir(), "audit"), &plane{}
		c := config(dir, p)
		c.Full = Block
		n := start(t, c)
		defer n.stop()
		if err := os.Rename(dir, dir+".away"); err != nil {
			t.Fatal(err)
		}
		n.record(numbered(0, 3)...)
		time.Sleep(time.Second)
		if err := n.Admit(); fault.From(err).Reason != ReasonFull {
			t.Errorf("a call is admitted with %v", err)
		}
		if err := os.Rename(dir+".away", dir); err != nil {
			t.Fatal(err)
		}
		settle()
		check(t, "when the disk is back", p.names(), numbered(0, 3))
		if err := n.Admit(); err != nil {
			t.Errorf("a call is admitted with %v", err)
		}
	})
}

// TestFlush: a node that stops hands in what it has without the usual waits, and does not wait for a control plane that is away.
func TestFlush(t *testing.T) {
	for name, away := range map[string]error{"there": nil, "away": errAway} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &plane{err: away}
				n := start(t, config(t.TempDir(), p))
				n.record(numbered(0, 3)...)
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				n.Flush(ctx)
				cancel()
				took := time.Since(began)
				n.stop()
				if away == nil {
					check(t, "at once", p.names(), numbered(0, 3))
				}
				if away == nil && took > 0 || away != nil && took != 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestRefused: events that the control plane will never take do not hold up those behind them.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &plane{err: fault.New(fault.Invalid, "AUDIT_EVENT_REFUSED", "no")}
		n := start(t, config(t.TempDir(), p))
		n.record("bad")
		settle()
		p.answer(nil, false)
		n.record("good")
		settle()
		n.stop()
		check(t, "all", p.names(), []string{"good"})
		if n.lost.Load() != 1 || !strings.Contains(n.log.String(), "refused by the control plane, and lost") {
			t.Errorf("%d lost, log: %s", n.lost.Load(), n.log)
		}
	})
}
