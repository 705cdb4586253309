// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// lookEvery is how often it is looked for what is to be sent.
	lookEvery = time.Second
	// atOnce bounds how many messages are on their way.
	atOnce = 16
	// attemptTimeout bounds one attempt.
	attemptTimeout = 10 * time.Second
	// lease is for how long an event is one sender's: longer than an attempt lasts.
	lease = 3 * attemptTimeout
	// firstRetry and longestRetry bound the time between attempts, which doubles.
	firstRetry   = 5 * time.Second
	longestRetry = 15 * time.Minute
	// giveUp is how old an event may become before it is no longer sent.
	giveUp = 24 * time.Hour
)

// Outbox has what is to be sent.
type Outbox interface {
	// Get returns an approval; nil if there is none.
	Get(ctx context.Context, id string) (*approval.Approval, error)
	// Unsent returns events that are to be sent by now, the oldest first, up to a limit.
	Unsent(ctx context.Context, now time.Time, limit int) ([]approval.Unsent, error)
	// Resend sets when an event is sent next, the zero time for never; false if another sender did since it was read.
	Resend(ctx context.Context, u approval.Unsent, next time.Time, attempts int) (bool, error)
}

// SenderConfig is what a Sender needs.
type SenderConfig struct {
	URL       string
	Secret    func(context.Context) Secret // that counts now
	Arguments bool                         // of calls stand in the messages
	Outbox    Outbox
	Log       *slog.Logger
	Now       func() time.Time
}

// Sender posts what happens to approvals to a URL, until it is taken with a status of 2xx or is a day old. What is to be sent is in
// the store: it outlives the process, and of several control planes one sends it at a time. A message may arrive twice, with
// the same webhook-id.
type Sender struct {
	c      SenderConfig
	client *http.Client
}

// NewSender returns a sender to a URL that the operator set: it may be inside the deployment; redirects are not followed. The fault
// is Invalid, URL_INVALID.
func NewSender(c SenderConfig) (*Sender, error) {
	u, err := egress.ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	policy, err := egress.Policy{}.Permit(u)
	if err != nil {
		return nil, err
	}
	return &Sender{c: c, client: &http.Client{
		Timeout: attemptTimeout,
		Transport: &http.Transport{
			DialContext: policy.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: attemptTimeout,
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: atOnce, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := s.Send(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			s.c.Log.WarnContext(ctx, "approvals cannot be told to the webhook now", obs.Fault(err))
		}
		failed = err != nil
	}
}

// Send sends what is due, once.
func (s *Sender) Send(ctx context.Context) error {
	due, err := s.c.Outbox.Unsent(ctx, s.c.Now(), atOnce)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make([]error, len(due))
	for i, u := range due {
		all.Go(func() { errs[i] = s.attempt(ctx, u) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// attempt tries to send one event. That it is not taken is no error: it is tried again.
func (s *Sender) attempt(ctx context.Context, u approval.Unsent) error {
	now := s.c.Now()
	if now.Sub(u.Time) >= giveUp {
		s.c.Log.WarnContext(ctx, "the webhook was not told of an approval", obs.AttrReason, u.Kind, obs.AttrAttempt, u.Attempts)
		_, err := s.c.Outbox.Resend(ctx, u, time.Time{}, u.Attempts)
		return err
	}
	until := now.Add(lease)
	taken, err := s.c.Outbox.Resend(ctx, u, until, u.Attempts+1)
	if err != nil || !taken {
		return err
	}
	u.Due, u.Attempts = until, u.Attempts+1
	a, err := s.c.Outbox.Get(ctx, u.Approval)
	if err != nil {
		return err
	}
	next := time.Time{}
	if a != nil { // forgotten otherwise
		if err := s.post(ctx, u, a); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // stopped: whoever comes next goes on when the lease is over
			}
			s.c.Log.InfoContext(ctx, "the webhook took no message",
				slog.String(obs.AttrReason, u.Kind), slog.Int(obs.AttrAttempt, u.Attempts), obs.Fault(err))
			next = s.c.Now().Add(pause(u.Attempts))
		}
	}
	_, err = s.c.Outbox.Resend(ctx, u, next, u.Attempts)
	return err
}

// pause is the time before another attempt: it doubles, and differs by up to a fifth.
func pause(attempts int) time.Duration {
	d := longestRetry
	if n := attempts - 1; n < 16 {
		d = min(firstRetry<<n, longestRetry)
	}
	return d - rand.N(d/5) //nolint:gosec // jitter
}

// message is what is sent.
type message struct {
	Type      string    `json:"type"` // "approval.created"
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

// data is an approval, as it is when it is sent.
type data struct {
	Approval        string          `json:"approval"`
	State           approval.State  `json:"state"`
	Gateway         string          `json:"gateway"`
	Tool            string          `json:"tool"`
	Policy          string          `json:"policy"`
	Caller          string          `json:"caller"`
	ClientID        string          `json:"client_id,omitempty"`
	Approvers       []string        `json:"approvers"`
	ArgumentsSHA256 string          `json:"arguments_sha256"`
	Arguments       json.RawMessage `json:"arguments,omitempty"`
	CreateTime      time.Time       `json:"create_time"`
	ExpireTime      time.Time       `json:"expire_time"`
	DecidedBy       string          `json:"decided_by,omitempty"`
	Reason          string          `json:"reason,omitempty"`
}

func (s *Sender) post(ctx context.Context, u approval.Unsent, a *approval.Approval) error {
	m := message{Type: "approval." + u.Kind, Timestamp: u.Time, Data: data{
		Approval: a.ID, State: a.State, Gateway: a.Call.Gateway, Tool: a.Call.Tool, Policy: a.Call.Policy, Caller: a.Call.Caller.String(),
		ClientID: a.Call.Caller.ClientID, Approvers: a.Call.Approvers, ArgumentsSHA256: hex.EncodeToString(a.SHA256[:]),
		CreateTime: a.Create, ExpireTime: a.Expire, DecidedBy: a.DecidedBy, Reason: a.Reason,
	}}
	if s.c.Arguments && len(a.Arguments) > 0 {
		m.Data.Arguments = a.Arguments
	}
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.c.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be called") // the cause repeats it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "penstock")
	s.c.Secret(ctx).sign(req.Header, u.ID, s.c.Now(), body)
	res, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // it was read as far as it counts
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody))
	if res.StatusCode/100 != http.StatusOK/100 {
		return fmt.Errorf("answered with %d", res.StatusCode)
	}
	return nil
}
