// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	"github.com/penstockhq/penstock/dataplane/internal/discover"
	"github.com/penstockhq/penstock/dataplane/internal/explain"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio"
	"github.com/penstockhq/penstock/dataplane/internal/usage"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/node"
)

// sealer seals the cursors of lists and the ids of tasks. A cursor holds its expiry in seconds since 1970, then the last
// name (M-86: 1 h). The id of a task has no expiry of its own: it must stay the same in every message, and the upstream
// forgets the task.
type sealer struct {
	keys *seal.Keyset
	now  func() time.Time
}

const cursorLife = time.Hour

// explainTimeout bounds the answer to a question about a call, in which nobody else is asked.
const explainTimeout = 10 * time.Second

// SealCursor implements dispatch.Sealer.
func (c sealer) SealCursor(gatewayUID, last string) string {
	expires := c.now().Add(cursorLife).Unix()
	plain := binary.BigEndian.AppendUint64(nil, uint64(expires))
	return string(c.keys.Seal(nil, seal.Cursor, gatewayUID, append(plain, last...)))
}

// OpenCursor implements dispatch.Sealer.
func (c sealer) OpenCursor(gatewayUID, cursor string) (string, bool) {
	plain, err := c.keys.Open(nil, seal.Cursor, gatewayUID, cursor)
	if err != nil || len(plain) < 8 {
		return "", false
	}
	expires := int64(binary.BigEndian.Uint64(plain))
	return string(plain[8:]), c.now().Unix() < expires
}

// SealTask implements dispatch.Sealer.
func (c sealer) SealTask(gatewayUID string, plain []byte) string {
	return string(c.keys.SealSame(nil, seal.Task, gatewayUID, plain))
}

// OpenTask implements dispatch.Sealer.
func (c sealer) OpenTask(gatewayUID, id string) ([]byte, bool) {
	plain, err := c.keys.Open(nil, seal.Task, gatewayUID, id)
	return plain, err == nil
}

// SealInvite implements dispatch.Sealer.
func (c sealer) SealInvite(gatewayUID string, plain []byte) string {
	return string(c.keys.Seal(nil, seal.Invite, gatewayUID, plain))
}

// OpenInvite implements dispatch.Sealer.
func (c sealer) OpenInvite(gatewayUID, token string) ([]byte, bool) {
	plain, err := c.keys.Open(nil, seal.Invite, gatewayUID, token)
	return plain, err == nil
}

// SealApproval implements dispatch.Sealer.
func (c sealer) SealApproval(gatewayUID string, plain []byte) string {
	return string(c.keys.Seal(nil, seal.Approval, gatewayUID, plain))
}

// OpenApproval implements dispatch.Sealer.
func (c sealer) OpenApproval(gatewayUID, token string) ([]byte, bool) {
	plain, err := c.keys.Open(nil, seal.Approval, gatewayUID, token)
	return plain, err == nil
}

// states seals what requestState holds.
type states struct{ keys *seal.Keyset }

// Seal implements bridge.Sealer.
func (s states) Seal(gatewayUID string, plain []byte) string {
	return string(s.keys.Seal(nil, seal.RequestState, gatewayUID, plain))
}

// Open implements bridge.Sealer.
func (s states) Open(gatewayUID, token string) ([]byte, bool) {
	plain, err := s.keys.Open(nil, seal.RequestState, gatewayUID, token)
	return plain, err == nil
}

// authFailures counts refused requests by reason (G-61); authn names few reasons.
func authFailures(t *obs.Telemetry) (func(ctx context.Context, reason string), error) {
	counter, err := t.Meter.Meter(tracerName).Int64Counter(obs.MetricAuthnFailures, metric.WithUnit("{failure}"),
		metric.WithDescription("Requests that were refused before their body was read, by reason."))
	return func(ctx context.Context, reason string) {
		counter.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
	}, err
}

// keyFailures counts renewals of identity providers' keys that failed, by provider (auth.md JW-6): administrators name few.
func keyFailures(t *obs.Telemetry) (func(ctx context.Context, provider string), error) {
	counter, err := t.Meter.Meter(tracerName).Int64Counter(obs.MetricProviderKeyFailures, metric.WithUnit("{failure}"),
		metric.WithDescription("Renewals of the key set of an identity provider that failed; the keys before count on for 24 h."))
	return func(ctx context.Context, provider string) {
		counter.Add(ctx, 1, metric.WithAttributes(attribute.String("provider", provider)))
	}, err
}

// denials drops the credentials of what a denial takes away.
type denials struct {
	holder      *view.Holder
	credentials *credential.Client
	stdio       *stdio.Pool
}

// Denied implements follow.Denials.
func (d denials) Denied(keys []view.Key) {
	now := d.holder.Load()
	if now == nil {
		return
	}
	for _, k := range keys {
		switch k.Kind {
		case "connection":
			if c := now.Connection(k.Name); c != nil {
				d.credentials.Deny(c.UID)
			}
			d.stdio.Drop(k.Name)
		case "identity_provider": // what its tokens were exchanged for ends with it
			now.MadeOf(k.Name, func(c *view.Connection) { d.credentials.Deny(c.UID) })
		case "user":
			if uid := now.UserUID(k.Name); uid != "" {
				d.credentials.DenyPrincipal(ident.Principal{Kind: ident.KindUser, UID: uid})
			}
			for _, c := range now.OwnConnections(k.Name) { // what discoveries and processes have of them, too
				d.credentials.Deny(c.UID)
				d.stdio.Drop(c.Name)
			}
		case "oauth_client":
			if uid := now.ClientUID(k.Name); uid != "" {
				d.credentials.DenyPrincipal(ident.Principal{Kind: ident.KindServiceAccount, UID: uid})
			}
		default:
		}
	}
}

// reporter hands what the node found to the control plane it follows.
type reporter struct{ follower *node.Client }

// ReportDiscovery implements discover.Reporter.
func (r reporter) ReportDiscovery(ctx context.Context, c discover.Cause, l *discover.Listing, f *fault.Fault) error {
	m := &nodev1.ReportDiscoveryRequest{TaskId: c.TaskID, Server: c.Server}
	if f != nil {
		m.Result = &nodev1.ReportDiscoveryRequest_Failure{Failure: &nodev1.DiscoveryFailure{Reason: f.Reason, Detail: f.Public}}
	} else {
		m.Result = &nodev1.ReportDiscoveryRequest_Discovered{Discovered: &nodev1.Discovered{
			ProtocolVersion: l.Version, ServerInfo: l.ServerInfo, Capabilities: l.Capabilities, Instructions: l.Instructions,
			Tools: l.Tools, Prompts: l.Prompts, Templates: l.Templates, ResourceAuthorities: l.Authorities,
			Missing: l.Missing, Sse: l.SSE,
		}}
	}
	_, err := r.follower.NodeService().ReportDiscovery(ctx, m)
	return err
}

// reportExplanation hands the answer to a question about a call to the control plane.
func (r reporter) reportExplanation(ctx context.Context, m *nodev1.ReportExplanationRequest) error {
	_, err := r.follower.NodeService().ReportExplanation(ctx, m)
	return err
}

// SendReport implements usage.Sender.
func (r reporter) SendReport(ctx context.Context, report usage.Report) error {
	m := &nodev1.ReportStatusRequest{}
	for token, at := range report.TokenUses {
		m.TokenUses = append(m.TokenUses, &nodev1.TokenUse{Token: token, Time: timestamppb.New(at)})
	}
	for name, check := range report.Connections {
		m.Connections = append(m.Connections, &nodev1.ConnectionCheck{
			Connection: name, Time: timestamppb.New(check.Time), Reason: check.Reason,
		})
	}
	_, err := r.follower.NodeService().ReportStatus(ctx, m)
	return err
}

// tasks runs the jobs that the control plane asks for. What runs them is made after what asks for them, and before anything runs.
type tasks struct {
	discoverer *discover.Discoverer
	explainer  *explain.Explainer
	reports    reporter
	log        *slog.Logger
}

func (t *tasks) run(ctx context.Context, task *distributionv1.Task) {
	switch {
	case task.GetDiscover() != nil:
		t.discover(ctx, task)
	case task.GetExplain() != nil:
		t.explain(ctx, task)
	default:
		t.log.WarnContext(ctx, "unknown task from the control plane")
	}
}

// explain says what would become of a call. A report that does not arrive is not sent again: who asked waits for seconds only.
func (t *tasks) explain(ctx context.Context, task *distributionv1.Task) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	m := &nodev1.ReportExplanationRequest{TaskId: task.GetId()}
	answer, err := t.explainer.Explain(ctx, task.GetExplain().GetQuestion())
	if err != nil {
		f := fault.From(err)
		m.Result = &nodev1.ReportExplanationRequest_Failure{Failure: &nodev1.ExplanationFailure{
			Reason: f.Reason, Detail: f.Public, Invalid: f.Kind == fault.Invalid,
		}}
	} else {
		m.Result = &nodev1.ReportExplanationRequest_Explanation{Explanation: answer}
	}
	if err := t.reports.reportExplanation(ctx, m); err != nil {
		t.log.WarnContext(ctx, "explanation not reported", slog.Any(obs.AttrError, err))
	}
}

// discover lists the tools of a server.
func (t *tasks) discover(ctx context.Context, task *distributionv1.Task) {
	d := task.GetDiscover()
	s, err := compile.MakeServer(d.GetServer())
	if err != nil {
		t.log.WarnContext(ctx, "server to discover does not compile", slog.Any(obs.AttrError, err))
		return
	}
	if p := d.GetServer().GetProtocol(); p == "" || p == "AUTO" {
		s.Protocol = "" // look anew
	}
	var c *view.Connection
	if d.GetConnection() != nil {
		c = compile.MakeConnection(d.GetConnection())
	}
	if err := t.discoverer.Discover(ctx, task.GetId(), s, c); err != nil {
		t.log.WarnContext(ctx, "discovery not reported", slog.Any(obs.AttrError, err))
	}
}

// opsHandler serves health and readiness. Ready needs a complete view and a clock that agrees with the control plane's,
// not a control plane (D-61, D-54); that the node is stale shows as detail (D-62).
func (n *Node) opsHandler(r *rooms) http.Handler {
	return obs.Ops(obs.OpsConfig{
		Service: serviceName, Version: n.c.Version, Metrics: n.c.Telemetry.Metrics,
		Checks: map[string]obs.Check{
			"view": func() (string, error) {
				v := r.holder.Load()
				if v == nil {
					return "", fault.New(fault.Unavailable, "VIEW_NOT_LOADED", "no configuration is loaded yet")
				}
				gateways, tools := v.Counts()
				return fmt.Sprintf("revision %d, %d gateways, %d tools", v.Revision, gateways, tools), nil
			},
			"control_plane": func() (string, error) {
				switch s := r.follower.Status(); {
				case s.Skew:
					return "", fault.Newf(fault.Unavailable, "CLOCK_SKEW", "this clock differs from the control plane's by %s", s.SkewBy)
				case s.Connected:
					return "connected to " + s.Endpoint, nil
				case s.Stale:
					return "stale: no news for " + time.Since(s.LastHeartbeat).Truncate(time.Second).String(), nil
				default:
					return "not connected", nil
				}
			},
			"issuer": func() (string, error) { // what was known last serves, so that this keeps no node from being ready
				if id := r.issuer.Issuer(); id != "" {
					return id, nil
				}
				return "not known yet: access tokens are refused", nil
			},
			"draining": func() (string, error) {
				if n.draining.Load() {
					return "", fault.New(fault.Unavailable, "NODE_DRAINING", "the node is shutting down")
				}
				return "", nil
			},
		},
	})
}
