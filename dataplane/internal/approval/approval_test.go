// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/approval"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// plane is a control plane that answers the same to every question.
type plane struct {
	hold  *nodev1.HoldCallResponse
	err   error
	asked *nodev1.HoldCallRequest
	hangs bool

	wait  func(n int) (nodev1.ApprovalState, error) // of the nth question
	takes time.Duration                             // each of them
	waits int
}

func (p *plane) HoldCall(ctx context.Context, r *nodev1.HoldCallRequest) (*nodev1.HoldCallResponse, error) {
	if p.asked = r; p.hangs {
		<-ctx.Done()
		return nil, fault.New(fault.Timeout, "", "context deadline exceeded").Because(ctx.Err())
	}
	return p.hold, p.err
}

func (p *plane) WaitApproval(ctx context.Context, _ *nodev1.WaitApprovalRequest) (*nodev1.WaitApprovalResponse, error) {
	p.waits++
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(p.takes):
	}
	s, err := p.wait(p.waits)
	return &nodev1.WaitApprovalResponse{State: s}, err
}

// What is asked, word for word.
func TestAsked(t *testing.T) {
	p := &plane{hold: &nodev1.HoldCallResponse{
		Approval: "a-1", State: nodev1.ApprovalState_APPROVAL_STATE_RUN, Run: true, Reason: "Fine.", Approvers: []string{"bob@example.com"},
		ExpireTime: timestamppb.New(time.Unix(1_800_000_000, 0)),
	}}
	h := call.Held{
		Gateway: "eng", GatewayUID: "g", Tool: "db/drop", Policy: "ask", Arguments: []byte(`{"a":1}`), Confirmation: "c", Revision: 7, TraceID: "t", Look: true,
		Principal: ident.Principal{Kind: ident.KindUser, UID: "u", Name: "ada@example.com", Method: "oauth", ClientID: "cli", TokenID: "k"},
	}
	got, err := approval.New(p).Hold(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	want := call.Approval{
		ID: "a-1", State: call.ApprovalRun, Run: true, Reason: "Fine.", Approvers: []string{"bob@example.com"}, Expires: time.Unix(1_800_000_000, 0).UTC(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&nodev1.HoldCallRequest{
		Gateway: "eng", GatewayUid: "g", Tool: "db/drop", Policy: "ask", Arguments: []byte(`{"a":1}`), Confirmation: "c", Revision: 7, TraceId: "t", Look: true,
		Caller: &nodev1.HeldCaller{Kind: "user", Uid: "u", Name: "ada@example.com", AuthMethod: "oauth", ClientId: "cli", TokenId: "k"},
	}, p.asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	h.Principal = ident.Principal{Kind: ident.KindOrganization, UID: ident.OrganizationUID}
	if _, err := approval.New(p).Hold(t.Context(), h); err != nil || p.asked.GetCaller().GetUid() != "" {
		t.Errorf("the organisation is %v, %v", p.asked.GetCaller(), err)
	}
}

// Every answer of a control plane, and what the call comes to.
func TestHold(t *testing.T) {
	state := func(s nodev1.ApprovalState, run bool) *nodev1.HoldCallResponse {
		return &nodev1.HoldCallResponse{State: s, Run: run}
	}
	for _, tc := range []struct {
		name  string
		plane plane
		gone  bool // the client
		state call.ApprovalState
		run   bool
		kind  fault.Kind
		want  string // reason
		retry time.Duration
	}{
		{name: "pending", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_PENDING, false)}, state: call.ApprovalPending},
		{name: "approved", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_APPROVED, false)}, state: call.ApprovalApproved},
		{name: "approved is not run", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_APPROVED, true)}, state: call.ApprovalApproved},
		{name: "denied", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_DENIED, false)}, state: call.ApprovalDenied},
		{name: "expired", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_EXPIRED, false)}, state: call.ApprovalExpired},
		{name: "run", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_RUN, true)}, state: call.ApprovalRun, run: true},
		{name: "run before", plane: plane{hold: state(nodev1.ApprovalState_APPROVAL_STATE_RUN, false)}, state: call.ApprovalRun},
		{name: "no state", plane: plane{hold: state(0, true)}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "a state of later", plane: plane{hold: state(99, true)}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "away", plane: plane{err: fault.New(fault.Unavailable, "", "no control plane is connected")}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "does not know the question", plane: plane{err: fault.New(fault.Bug, "", "unknown service")}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "not let in", plane: plane{err: fault.New(fault.Denied, "", "x")}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "hangs", plane: plane{hangs: true}, kind: fault.Unavailable, want: approval.ReasonUnavailable},
		{name: "the client is gone", plane: plane{hangs: true}, gone: true, kind: fault.Canceled, want: fault.ReasonCanceled},
		{name: "nobody could", plane: plane{err: fault.New(fault.Precondition, "NO_APPROVER", "Nobody.")}, kind: fault.Precondition, want: approval.ReasonImpossible},
		{name: "arguments that cannot be held", plane: plane{err: fault.New(fault.Invalid, "X", "A name stands twice.")}, kind: fault.Precondition, want: approval.ReasonImpossible},
		{name: "no such policy", plane: plane{err: fault.New(fault.NotFound, "X", "x")}, kind: fault.Unavailable, want: approval.ReasonChanged},
		{name: "the policy has changed", plane: plane{err: fault.New(fault.Precondition, "APPROVAL_NOT_REQUIRED", "x")}, kind: fault.Unavailable, want: approval.ReasonChanged},
		{name: "too many", plane: plane{err: fault.New(fault.Exhausted, "X", "x").After(time.Minute)}, kind: fault.Exhausted, want: approval.ReasonUnavailable, retry: time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.gone {
					time.AfterFunc(time.Second, cancel)
				}
				a, err := approval.New(&tc.plane).Hold(ctx, call.Held{})
				if tc.want == "" {
					if err != nil || a.State != tc.state || a.Run != tc.run {
						t.Errorf("%+v %v", a, err)
					}
					return
				}
				if f := fault.From(err); err == nil || f.Kind != tc.kind || f.Reason != tc.want || f.Retry != tc.retry || a.Run {
					t.Errorf("%+v %v, want %s", a, err, tc.want)
				}
			})
		})
	}
}

// A wait ends with the decision or with the client, and outlives a control plane that is away.
func TestWait(t *testing.T) {
	const pending, approved = nodev1.ApprovalState_APPROVAL_STATE_PENDING, nodev1.ApprovalState_APPROVAL_STATE_APPROVED
	away := fault.New(fault.Unavailable, "", "away")
	for _, tc := range []struct {
		name  string
		takes time.Duration
		wait  func(n int) (nodev1.ApprovalState, error)
		gone  time.Duration
		want  error
		took  time.Duration
		asked int
	}{
		{name: "decided", takes: 20 * time.Second, wait: func(int) (nodev1.ApprovalState, error) { return approved, nil }, took: 20 * time.Second, asked: 1},
		{name: "decided in the third turn", takes: 30 * time.Second, wait: func(n int) (nodev1.ApprovalState, error) {
			if n == 3 {
				return approved, nil
			}
			return pending, nil
		}, took: 90 * time.Second, asked: 3},
		{name: "unknown", wait: func(int) (nodev1.ApprovalState, error) { return 0, fault.New(fault.NotFound, "", "x") }, asked: 1},
		{name: "away for a while", wait: func(n int) (nodev1.ApprovalState, error) {
			if n == 4 {
				return approved, nil
			}
			return 0, away
		}, took: 3 * time.Second, asked: 4},
		{name: "comes back at once", wait: func(n int) (nodev1.ApprovalState, error) { return pending, nil }, gone: 10500 * time.Millisecond, want: context.Canceled, took: 10500 * time.Millisecond, asked: 11},
		{name: "hangs", takes: time.Hour, gone: time.Minute, want: context.Canceled, took: time.Minute, asked: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.gone > 0 {
					time.AfterFunc(tc.gone, cancel)
				}
				p, start := &plane{takes: tc.takes, wait: tc.wait}, time.Now()
				err := approval.New(p).Wait(ctx, "a-1")
				if !errors.Is(err, tc.want) || time.Since(start) != tc.took || p.waits != tc.asked {
					t.Errorf("%v after %s and %d questions, want %v after %s and %d", err, time.Since(start), p.waits, tc.want, tc.took, tc.asked)
				}
			})
		})
	}
}
