// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/approval/webhook"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// ApprovalSettings say which outside system is told of tool calls that wait for approval, and may decide.
type ApprovalSettings struct {
	WebhookURL        string `name:"webhook_url" help:"where each new approval, decision and expiry is posted, as Standard Webhooks; empty is off"`
	WebhookSecretFile string `name:"webhook_secret_file" help:"file with the secret that signs these messages, and the decisions that /webhooks/approvals of the admin API takes: whsec_ and Base64, or 24 to 64 bytes; empty takes none"`
	WebhookArguments  bool   `name:"webhook_arguments" help:"whether the arguments of calls stand in these messages"`
}

func (s ApprovalSettings) problems(f *fault.Fault) *fault.Fault {
	if s.WebhookURL != "" {
		if _, err := egress.ParseURL(s.WebhookURL); err != nil {
			f = f.At("approvals.webhook_url", "cannot be called: "+fault.From(err).Public)
		}
		if s.WebhookSecretFile == "" {
			f = f.At("approvals.webhook_secret_file", "is empty: messages are signed; name a file with a secret")
		}
	} else if s.WebhookArguments {
		f = f.At("approvals.webhook_arguments", "is set without approvals.webhook_url")
	}
	return f
}

// openApprovals makes what holds calls, and what exchanges messages with the webhook, if there is one.
func (p *ControlPlane) openApprovals(r *rooms) (err error) {
	s, log := p.c.Approvals, p.c.Telemetry.Log
	table := r.store.Approvals()
	r.held, err = approval.New(approval.Config{
		Store: table, Resources: r.store, Log: log, Meter: p.c.Telemetry.Meter, Now: time.Now, Tell: s.WebhookURL != "",
	})
	if err != nil || s.WebhookSecretFile == "" {
		return err
	}
	text, err := os.ReadFile(s.WebhookSecretFile)
	if err != nil {
		return fmt.Errorf("read approvals.webhook_secret_file: %w", err)
	}
	secret, err := webhook.ParseSecret(string(text))
	if err != nil {
		return fmt.Errorf("read approvals.webhook_secret_file: %w", err)
	}
	r.decisions = &webhook.Receiver{Secret: secret, Decider: r.held, Answers: table, Log: log, Now: time.Now}
	if s.WebhookURL == "" {
		return nil
	}
	r.told, err = webhook.NewSender(webhook.SenderConfig{
		URL: s.WebhookURL, Secret: secret, Arguments: s.WebhookArguments, Outbox: table, Log: log, Now: time.Now,
	})
	return err
}

// approvalTasks list what holds calls and tells of them.
func (r *rooms) approvalTasks() []run.Task {
	tasks := []run.Task{{Name: "approvals", Run: r.held.Run}}
	if r.told != nil {
		tasks = append(tasks, run.Task{Name: "approval webhook", Run: func(ctx context.Context) error { return r.told.Run(ctx) }})
	}
	return tasks
}

// withDecisions also takes the decisions of the webhook at the port of the admin API.
func (r *rooms) withDecisions(api http.Handler) http.Handler {
	if r.decisions == nil {
		return api
	}
	mux := http.NewServeMux()
	mux.Handle(webhook.Path, r.decisions)
	mux.Handle("/", api)
	return mux
}
