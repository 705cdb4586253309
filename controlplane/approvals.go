// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/approval/webhook"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// ApprovalSettings say which outside system is told of tool calls that wait for approval, and may decide.
type ApprovalSettings struct {
	WebhookURL        string `name:"webhook_url" help:"where each new approval, decision and expiry is posted, as Standard Webhooks; empty is off"`
	WebhookSecretFile string `name:"webhook_secret_file" help:"file with the secret that signs these messages, and the decisions that /webhooks/approvals of the admin API takes: whsec_ and Base64, or 24 to 64 bytes; read again when it changes; empty takes none"`
	WebhookArguments  bool   `name:"webhook_arguments" help:"whether the arguments of calls stand in these messages"`
	Keyset            string `name:"keyset" help:"key file that seals the arguments of held calls in the database: a Tink keyset in JSON, mode 0600, the same for all control planes; without one no call can be held for others"`
	CreateKeyset      bool   `name:"create_keyset" help:"make the key file if it is missing"`
	Rotate            bool   `name:"rotate" help:"add a new primary key to the key file, and exit"`
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
	if s.Keyset == "" && (s.CreateKeyset || s.Rotate) {
		f = f.At("approvals.keyset", "is empty: name the key file")
	}
	return f
}

// RotateApprovalKeyset adds a new primary key to the key file of the settings. Running control planes take it up by themselves.
func RotateApprovalKeyset(s Settings) error { return envelope.RotateKeyFile(s.Approvals.Keyset) }

// openApprovalKeys opens the key file, or makes it where the settings allow that: what an earlier one sealed is a call that waits, at the most.
// Without a key file the KMS is nil.
func (p *ControlPlane) openApprovalKeys(ctx context.Context) (envelope.KMS, error) {
	s, log := p.c.Approvals, p.c.Telemetry.Log
	if s.Keyset == "" {
		log.InfoContext(ctx, "no call can be held for the approval of others: approvals.keyset is empty")
		return nil, nil
	}
	keys, err := envelope.OpenKeyFile(s.Keyset)
	if errors.Is(err, fs.ErrNotExist) {
		if !s.CreateKeyset {
			return nil, fault.New(fault.Precondition, envelope.ReasonKeyMissing,
				"The key file (approvals.keyset) is missing: put it back, or set approvals.create_keyset to make one.").Because(err)
		}
		if err := envelope.CreateKeyFile(s.Keyset); err != nil && !errors.Is(err, fs.ErrExist) { // another that starts made it just now
			return nil, fmt.Errorf("make the key file %s: %w", s.Keyset, err)
		}
		keys, err = envelope.OpenKeyFile(s.Keyset)
	}
	if err != nil {
		return nil, fmt.Errorf("open the key file %s: %w", s.Keyset, err)
	}
	return keys, nil
}

// openApprovals makes what holds calls, and what exchanges messages with the webhook, if there is one.
func (p *ControlPlane) openApprovals(ctx context.Context, r *rooms) (err error) {
	s, log := p.c.Approvals, p.c.Telemetry.Log
	keys, err := p.openApprovalKeys(ctx)
	if err != nil {
		return err
	}
	table := r.store.Approvals(keys)
	r.held, err = approval.New(approval.Config{
		Store: table, Resources: r.store, Log: log, Meter: p.c.Telemetry.Meter, Now: time.Now, Tell: s.WebhookURL != "",
	})
	if err != nil || s.WebhookSecretFile == "" {
		return err
	}
	secret, err := webhook.OpenSecretFile(s.WebhookSecretFile, log)
	if err != nil {
		return fmt.Errorf("read approvals.webhook_secret_file: %w", err)
	}
	r.decisions = &webhook.Receiver{Secret: secret.Secret, Decider: r.held, Answers: table, Log: log, Now: time.Now}
	if s.WebhookURL == "" {
		return nil
	}
	r.told, err = webhook.NewSender(webhook.SenderConfig{
		URL: s.WebhookURL, Secret: secret.Secret, Arguments: s.WebhookArguments, Outbox: table, Log: log, Now: time.Now,
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
