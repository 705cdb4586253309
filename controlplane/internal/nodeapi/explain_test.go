// SPDX-License-Identifier: Apache-2.0

package nodeapi_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// asked is a dispatcher with one node, which does with a question what a test says.
type asked func(ctx context.Context, t *distributionv1.Task) error

// Dispatch implements nodeapi.Dispatcher.
func (f asked) Dispatch(ctx context.Context, t *distributionv1.Task) error { return f(ctx, t) }

func explained(id string) *nodev1.ReportExplanationRequest {
	m := &nodev1.ReportExplanationRequest{TaskId: id}
	r := m.ProtoReflect()
	e := r.Mutable(r.Descriptor().Fields().ByName("explanation")).Message()
	e.Set(e.Descriptor().Fields().ByName("node"), e.NewField(e.Descriptor().Fields().ByName("node")))
	return m
}

func unexplained(reason, detail string, invalid bool) func(string) *nodev1.ReportExplanationRequest {
	return func(id string) *nodev1.ReportExplanationRequest {
		return &nodev1.ReportExplanationRequest{TaskId: id, Result: &nodev1.ReportExplanationRequest_Failure{
			Failure: &nodev1.ExplanationFailure{Reason: reason, Detail: detail, Invalid: invalid},
		}}
	}
}

// TestExplain: whatever becomes of the question, the one who waits hears it, and who answered.
func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		report  func(id string) *nodev1.ReportExplanationRequest // nil: the node says nothing
		refused error                                            // of the dispatcher
		kind    fault.Kind
		reason  string
		text    string
	}{
		{"answered", explained, nil, 0, "", ""},
		{"wrong question", unexplained("ARGUMENTS_INVALID", "No object.", true), nil, fault.Invalid, "ARGUMENTS_INVALID", "No object."},
		{"not known there", unexplained("GATEWAY_NOT_FOUND", "Not yet.", false), nil, fault.Unavailable, "GATEWAY_NOT_FOUND", "Not yet."},
		{"failed for no reason", unexplained("", "", false), nil, fault.Unavailable, nodeapi.ReasonExplainFailed, "could not answer"},
		{"no node", nil, fault.New(fault.Unavailable, "NO_NODE", "no node"), fault.Unavailable, "NO_NODE", "no node"},
		{"nobody answers", nil, nil, fault.Timeout, nodeapi.ReasonExplainTimeout, "in time"},
		{"an answer to another question", func(string) *nodev1.ReportExplanationRequest { return explained("another") }, nil, fault.Timeout, nodeapi.ReasonExplainTimeout, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var client nodev1.NodeServiceClient
				s := nodeapi.New(asked(func(ctx context.Context, task *distributionv1.Task) error {
					if task.GetExplain().GetNode() != "n1" {
						return errors.New("the task is another one")
					}
					if tt.refused != nil {
						return tt.refused
					}
					if tt.report != nil {
						for range 2 {
							if _, err := client.ReportExplanation(ctx, tt.report(task.GetId())); err != nil && ctx.Err() == nil {
								t.Errorf("report: %v", err)
							}
						}
					}
					<-ctx.Done()
					return nil
				}), nil, &ledger{}, slog.New(slog.DiscardHandler))
				client = serve(t, s, node())
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				got, err := s.Explain(ctx, &distributionv1.ExplainTask{Node: "n1"})
				if tt.reason == "" {
					if err != nil || got.GetExplanation().GetNode() != "n1" || got.GetExplanation().GetRegion() != "eu" {
						t.Fatalf("got %v, %v", got, err)
					}
					return
				}
				if f := fault.From(err); f.Kind != tt.kind || f.Reason != tt.reason || !strings.Contains(f.Public, tt.text) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestExplainByDiscovery: the result of another kind of task is none.
func TestExplainByDiscovery(t *testing.T) {
	for _, explains := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var client nodev1.NodeServiceClient
			s := nodeapi.New(asked(func(ctx context.Context, task *distributionv1.Task) error {
				var err error
				if explains {
					_, err = client.ReportDiscovery(ctx, found(task.GetId()))
				} else {
					_, err = client.ReportExplanation(ctx, explained(task.GetId()))
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				<-ctx.Done()
				return nil
			}), nil, &ledger{}, slog.New(slog.DiscardHandler))
			client = serve(t, s, node())
			var err error
			if explains {
				_, err = s.Explain(t.Context(), &distributionv1.ExplainTask{})
			} else {
				_, err = s.Discover(t.Context(), task())
			}
			if f := fault.From(err); err == nil || f.Kind != fault.Unavailable || !strings.Contains(f.Public, "another question") {
				t.Errorf("explains %t: %v", explains, err)
			}
		})
	}
}

// elsewhere are the other control planes.
type elsewhere struct {
	got  []string
	done bool
	err  error
}

func (*elsewhere) Mark() string { return "-mark" }

func (e *elsewhere) Report(context.Context, *nodev1.ReportDiscoveryRequest) (bool, error) {
	return false, errors.New("not this one")
}

func (e *elsewhere) ReportExplanation(_ context.Context, r *nodev1.ReportExplanationRequest) (bool, error) {
	e.got = append(e.got, r.GetTaskId()+" of "+r.GetExplanation().GetNode())
	return e.done, e.err
}

// TestReportExplanation: who may report, and what becomes of an answer that nobody here waits for.
func TestReportExplanation(t *testing.T) {
	authserver := enroll.Local(ident.Workload{TrustDomain: "test", Role: ident.RoleAuthserver, Name: "a1"})
	for _, tc := range []struct {
		name   string
		creds  credentials.TransportCredentials
		report *nodev1.ReportExplanationRequest
		others *elsewhere
		want   codes.Code
		handed string
	}{
		{"no node", authserver, explained("x"), &elsewhere{}, codes.PermissionDenied, ""},
		{"no task", node(), explained(""), &elsewhere{}, codes.InvalidArgument, ""},
		{"no result", node(), &nodev1.ReportExplanationRequest{TaskId: "x"}, &elsewhere{}, codes.InvalidArgument, ""},
		{"of another control plane", node(), explained("x"), &elsewhere{done: true}, codes.OK, "x of n1"},
		{"of nobody", node(), explained("x"), &elsewhere{}, codes.OK, "x of n1"},
		{"of one that is away", node(), explained("x"), &elsewhere{err: errors.New("away")}, codes.Unavailable, "x of n1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := nodeapi.New(asked(nil), tc.others, &ledger{}, slog.New(slog.DiscardHandler))
			_, err := serve(t, s, tc.creds).ReportExplanation(t.Context(), tc.report)
			if got := status.Code(err); got != tc.want || strings.Join(tc.others.got, ",") != tc.handed {
				t.Errorf("got %v (%v), handed on %v", got, err, tc.others.got)
			}
		})
	}
}
