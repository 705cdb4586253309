// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"cmp"
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Reasons of faults of [Server.Explain].
const (
	// ReasonExplainTimeout is a question that no node answered in time.
	ReasonExplainTimeout = "EXPLAIN_TIMEOUT"
	// ReasonExplainFailed is a question that a node could not answer and did not say why.
	ReasonExplainFailed = "EXPLAIN_FAILED"
)

// Explain has a node say what would become of a call and waits for the answer until ctx ends. What the node cannot answer is Invalid
// or Unavailable with the node's reason; no node is Unavailable, NO_NODE; none that answers in time is Timeout, EXPLAIN_TIMEOUT.
func (s *Server) Explain(ctx context.Context, task *distributionv1.ExplainTask) (*nodev1.ReportExplanationRequest, error) {
	r, err := s.ask(ctx, &distributionv1.Task{Kind: &distributionv1.Task_Explain{Explain: task}}, func(cause error) error {
		return fault.New(fault.Timeout, ReasonExplainTimeout, "No node answered in time. Try again, or see the node's log.").Because(cause)
	})
	if err != nil {
		return nil, err
	}
	found, ok := r.(*nodev1.ReportExplanationRequest)
	if !ok {
		return nil, fault.New(fault.Unavailable, ReasonExplainFailed, "The node answered another question.")
	}
	f := found.GetFailure()
	if f == nil {
		return found, nil
	}
	kind := fault.Unavailable
	if f.GetInvalid() {
		kind = fault.Invalid
	}
	return nil, fault.New(kind, cmp.Or(f.GetReason(), ReasonExplainFailed), cmp.Or(f.GetDetail(), "The node could not answer."))
}

// DeliverExplanation takes the result of an ExplainTask; false if nobody waits for it here.
func (s *Server) DeliverExplanation(r *nodev1.ReportExplanationRequest) bool { return s.deliver(r) }

// ReportExplanation implements NodeService. As with discoveries, the result may belong to another control plane.
func (s *Server) ReportExplanation(ctx context.Context, r *nodev1.ReportExplanationRequest) (*nodev1.ReportExplanationResponse, error) {
	if err := admit(ctx, r); err != nil {
		return nil, err
	}
	if e := r.GetExplanation(); e != nil { // who answers is who reports, whatever it says
		peer, err := enroll.Peer(ctx, ident.RoleNode)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		e.Node, e.Region = peer.Name, peer.Region
	}
	done := s.deliver(r)
	var err error
	if !done && s.others != nil {
		done, err = s.others.ReportExplanation(ctx, r)
	}
	switch {
	case err != nil:
		return nil, s.failed(ctx, err)
	case !done:
		s.log.InfoContext(ctx, "explanation came too late")
	}
	return &nodev1.ReportExplanationResponse{}, nil
}
