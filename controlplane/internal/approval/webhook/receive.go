// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Path is where decisions are taken.
const Path = "/webhooks/approvals"

const (
	maxBody = 64 << 10
	// bodyTimeout is how long a message may take to arrive.
	bodyTimeout = 10 * time.Second
)

// Reasons of refusals.
const (
	// ReasonSignature (Unauthenticated): the message is not signed, not with the secret, or not just now.
	ReasonSignature = "WEBHOOK_SIGNATURE_INVALID"
	// ReasonMessage (Invalid): the message is none that is known.
	ReasonMessage = "WEBHOOK_MESSAGE_INVALID"
	// ReasonIDReused (Conflict): another message had this webhook-id.
	ReasonIDReused = "WEBHOOK_ID_REUSED"
)

// Decider decides. approval.Service does.
type Decider interface {
	Decide(ctx context.Context, d approval.Decision, answer func(*approval.Approval) (*approval.Answer, error)) (*approval.Approval, error)
}

// Answers keeps how messages were answered.
type Answers interface {
	// Answered returns how a message was answered; nil if it was not.
	Answered(ctx context.Context, id string) (*approval.Answer, error)
	// Answer stores how one was answered; false if it has been answered before.
	Answer(ctx context.Context, a *approval.Answer, now time.Time) (bool, error)
}

// Receiver takes decisions at [Path]. A message is answered once: the same again gets the same answer, whatever has happened since.
// It is safe for concurrent use.
type Receiver struct {
	Secret  func(context.Context) Secret // that counts now
	Decider Decider
	Answers Answers
	Log     *slog.Logger
	Now     func() time.Time
}

// decision is the body of a message.
type decision struct {
	Approval string `json:"approval"`
	Decision string `json:"decision"` // approve or deny
	By       string `json:"by"`       // e-mail address of somebody who may decide
	Reason   string `json:"reason"`
}

// ServeHTTP implements http.Handler: 200 with the state of the approval; else an error with its reason: 405, 413, 401 without a
// good signature, 400, 403, 404, 409 for a webhook-id of another message.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		write(w, http.StatusMethodNotAllowed, failure(fault.New(fault.Invalid, ReasonMessage, "Send the decision with POST.")))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not every writer has one
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, tooLong := errors.AsType[*http.MaxBytesError](err); tooLong {
			status = http.StatusRequestEntityTooLarge
		}
		write(w, status, failure(fault.New(fault.Invalid, ReasonMessage, "The message cannot be read, or has more than 64 KiB.")))
		return
	}
	a, err := r.answer(req, body)
	if err != nil {
		f := fault.From(err)
		if f.Kind == fault.Bug || f.Kind == fault.Unavailable {
			r.Log.WarnContext(req.Context(), "decision of the webhook not taken", obs.Fault(err))
		}
		a = &approval.Answer{Status: f.Kind.HTTPStatus(), Text: failure(f)}
	}
	write(w, a.Status, a.Text)
}

// answer answers a message. An error is an answer that is not kept.
func (r *Receiver) answer(req *http.Request, body []byte) (*approval.Answer, error) {
	ctx := req.Context()
	id, ok := r.Secret(ctx).verify(req.Header, r.Now(), body)
	if !ok {
		return nil, fault.New(fault.Unauthenticated, ReasonSignature, "The message is not signed with the secret of the webhook, or not just now.")
	}
	own := &approval.Answer{ID: id, Body: sha256.Sum256(body)}
	if before, err := r.before(ctx, own); err != nil || before != nil {
		return before, err
	}
	err := r.decide(ctx, own, body)
	if err == nil {
		return own, nil
	}
	// The same message may have been taken meanwhile, which is why this one was refused.
	if before, lost := r.before(ctx, own); lost != nil || before != nil {
		return before, lost
	}
	f := fault.From(err)
	if !final(f.Kind) {
		return nil, err
	}
	own.Status, own.Text = f.Kind.HTTPStatus(), failure(f)
	stored, err := r.Answers.Answer(ctx, own, r.Now())
	if err != nil || stored {
		return own, err
	}
	return r.before(ctx, own)
}

// before returns the answer that a message has got before, nil if none.
func (r *Receiver) before(ctx context.Context, own *approval.Answer) (*approval.Answer, error) {
	a, err := r.Answers.Answered(ctx, own.ID)
	if err != nil || a == nil {
		return nil, err
	}
	if a.Body != own.Body {
		return nil, fault.New(fault.Conflict, ReasonIDReused, "Another message had this webhook-id.")
	}
	return a, nil
}

// final reports whether the same message would be answered in the same way.
func final(k fault.Kind) bool {
	switch k {
	case fault.Invalid, fault.NotFound, fault.Denied, fault.Precondition:
		return true
	default:
		return false
	}
}

// decide decides as a message says; its answer is filled in, and stored with the decision.
func (r *Receiver) decide(ctx context.Context, own *approval.Answer, body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var m decision
	err := d.Decode(&m)
	if _, more := d.Token(); err != nil || !errors.Is(more, io.EOF) || m.Approval == "" || m.By == "" || m.Decision != "approve" && m.Decision != "deny" {
		return fault.New(fault.Invalid, ReasonMessage, `The message is not {"approval": id, "decision": "approve" or "deny", "by": e-mail address, "reason": text}.`)
	}
	_, err = r.Decider.Decide(ctx, approval.Decision{
		ID: m.Approval, Approve: m.Decision == "approve", By: m.By, How: approval.HowWebhook, Reason: m.Reason,
	}, func(a *approval.Approval) (*approval.Answer, error) {
		own.Status = http.StatusOK
		own.Text, err = json.Marshal(map[string]any{"approval": a.ID, "state": a.State})
		return own, err
	})
	return err
}

// failure is the body of a refusal.
func failure(f *fault.Fault) []byte {
	text, _ := json.Marshal(map[string]any{"error": map[string]string{"reason": f.Reason, "message": f.Public}}) // texts
	return text
}

func write(w http.ResponseWriter, status int, text []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) //nolint:gosec // JSON, and its type says so; who asked may be gone
}
