// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestNobodyComesBack: each way in which a held call ends without its client (M-81).
func TestNobodyComesBack(t *testing.T) {
	tests := []struct {
		name   string
		limits hold.Limits
		end    func(b *Bridge)
	}{
		{"expiry after 10 min", hold.Limits{}, func(*Bridge) { time.Sleep(10 * time.Minute) }},
		{"expiry as set", hold.Limits{Life: time.Minute}, func(*Bridge) { time.Sleep(time.Minute) }},
		{"drain", hold.Limits{}, func(b *Bridge) { b.held.Drain() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cancelled := make(chan error, 1)
				u := &script{version: wire.V20251125, run: func(ctx context.Context, s *sent) (string, string, error) {
					s.ask("1", "elicitation/create", form)
					s.ask("2", "sampling/createMessage", `{}`)
					s.ask("3", "roots/list", "")
					for range 3 {
						<-s.got
					}
					<-ctx.Done()
					cancelled <- context.Cause(ctx)
					return "", "", ctx.Err()
				}}
				b := newBridge(t, u, tt.limits)
				o := outbound(wire.V20260728, wire.V20251125, tool)
				reply, err := b.Call(t.Context(), o, nil)
				if err != nil {
					t.Fatal(err)
				}
				tt.end(b)
				synctest.Wait()
				want := []string{
					`1 {"action":"cancel"}`, `2 {"code":-1,"message":"The client did not answer"}`,
					`3 {"code":-32603,"message":"The client did not answer"}`,
				}
				if diff := cmp.Diff(want, u.requests()[0].answers()); diff != "" {
					t.Errorf("upstream was told (-want +got):\n%s", diff)
				}
				if cause := <-cancelled; cause == nil || errors.Is(cause, context.Canceled) {
					t.Errorf("cancelled because of %v", cause)
				}
				reply, err = b.Call(t.Context(), retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState), nil)
				if err != nil || !strings.Contains(string(reply.Error), "request_state_expired") {
					t.Errorf("retry: %s %v", reply.Error, err)
				}
				if n := len(u.requests()); n != 1 {
					t.Errorf("the call was sent %d times", n) // it may have run
				}
			})
		})
	}
}

// The limits of held calls: 16 per principal, and a number per node (mcp.md §2.1).
func TestHoldLimits(t *testing.T) {
	tests := []struct {
		name   string
		limits hold.Limits
		who    func(i int) string
		fit    int
	}{
		{"per principal", hold.Limits{}, func(int) string { return "alice" }, 16},
		{"per node", hold.Limits{PerNode: 20}, func(i int) string { return fmt.Sprint("user", i) }, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20251125, run: func(ctx context.Context, s *sent) (string, string, error) {
					s.ask("1", "elicitation/create", form)
					<-s.got
					<-ctx.Done()
					return "", "", ctx.Err()
				}}
				b := newBridge(t, u, tt.limits)
				for i := range tt.fit + 1 {
					o := outbound(wire.V20260728, wire.V20251125, tool)
					o.Principal.UID = tt.who(i)
					reply, err := b.Call(t.Context(), o, nil)
					if i < tt.fit {
						if err != nil {
							t.Fatal(err)
						}
						input(t, reply)
						continue
					}
					if f := fault.From(err); f == nil || f.Kind != fault.Exhausted || f.Reason != ReasonHeld {
						t.Errorf("call %d: %v", i, err)
					}
				}
				if got := u.requests()[tt.fit].answers(); !slices.Equal(got, []string{`1 {"action":"cancel"}`}) {
					t.Errorf("upstream was told %q", got)
				}
				if b.held.Len() != tt.fit {
					t.Errorf("%d held, want %d", b.held.Len(), tt.fit)
				}
			})
		})
	}
}

// An upstream that takes its question back: within the window the client hears nothing of it, later the key is gone and
// the retry gets the rest (M-80).
func TestUpstreamTakesQuestionBack(t *testing.T) {
	for _, after := range []time.Duration{10 * time.Millisecond, time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
					s.ask(`"u1"`, "elicitation/create", form)
					time.Sleep(after)
					s.tell("notifications/cancelled", `{"requestId":"u1","reason":"late"}`)
					time.Sleep(time.Minute)
					return ok, "", nil
				}}
				b := newBridge(t, u, hold.Limits{})
				o := outbound(wire.V20260728, wire.V20251125, tool)
				reply, err := b.Call(t.Context(), o, nil)
				if err != nil {
					t.Fatal(err)
				}
				if after > 50*time.Millisecond {
					time.Sleep(2 * time.Second)
					reply, err = b.Call(t.Context(), retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState), nil)
				}
				if err != nil || string(reply.Result) != ok {
					t.Errorf("%s %s %v", reply.Result, reply.Error, err)
				}
			})
		})
	}
}

// A modern client that closes its connection cancels the call, before questions and after its retry (M-31).
func TestModernClientLeaves(t *testing.T) {
	for _, retried := range []bool{false, true} {
		t.Run(fmt.Sprint("retried ", retried), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20251125, run: func(ctx context.Context, s *sent) (string, string, error) {
					if retried {
						s.ask("1", "elicitation/create", form)
					}
					<-ctx.Done()
					return "", "", fault.From(ctx.Err())
				}}
				b := newBridge(t, u, hold.Limits{})
				o := outbound(wire.V20260728, wire.V20251125, tool)
				if retried {
					reply, err := b.Call(t.Context(), o, nil)
					if err != nil {
						t.Fatal(err)
					}
					o = retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := b.Call(ctx, o, nil)
				if fault.KindOf(err) != fault.Canceled {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// An upstream that asks again and again is stopped after 16 rounds (M-79).
func TestRoundsOfHeldCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &script{version: wire.V20251125, run: func(ctx context.Context, s *sent) (string, string, error) {
			for i := 1; ctx.Err() == nil; i++ {
				s.ask(fmt.Sprint(i), "elicitation/create", form)
				select {
				case <-s.got:
				case <-ctx.Done():
				}
			}
			return "", "", ctx.Err()
		}}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, wire.V20251125, tool)
		next := o
		for round := 1; ; round++ {
			reply, err := b.Call(t.Context(), next, nil)
			if err != nil {
				if f := fault.From(err); f.Reason != ReasonRounds || round != 17 {
					t.Errorf("round %d: %v", round, err)
				}
				return
			}
			q := input(t, reply)
			next = retry(o, fmt.Sprintf(`{"q%d":%s}`, round, accept), q.RequestState)
		}
	})
}

// What the client did not declare is refused at once, and nothing is held (M-77).
func TestNotDeclared(t *testing.T) {
	tests := []struct{ name, capabilities, method, params string }{
		{"sampling", `{"elicitation":{}}`, "sampling/createMessage", `{}`},
		{"roots", `{"elicitation":{}}`, "roots/list", ""},
		{"pages to a client of forms", `{"elicitation":{}}`, "elicitation/create", `{"mode":"url","url":"https://x/"}`},
		{"forms to a client of pages", `{"elicitation":{"url":{}}}`, "elicitation/create", form},
		{"no question at all", `{"elicitation":{}}`, "secrets/list", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
				s.ask("1", tt.method, tt.params)
				<-s.got
				return ok, "", nil
			}}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(wire.V20260728, wire.V20251125, tool)
			o.Client.Capabilities = []byte(tt.capabilities)
			reply, err := b.Call(t.Context(), o, nil)
			if err != nil || string(reply.Result) != ok {
				t.Errorf("%s %v", reply.Result, err)
			}
			if got := u.requests()[0].answers(); !slices.Equal(got, []string{`1 {"code":-32601,"message":"Method not found"}`}) {
				t.Errorf("upstream was told %q", got)
			}
		})
	}
}
