// SPDX-License-Identifier: Apache-2.0

package signals

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// pollEvery is how often a provider is asked, so that an event is acted upon within seconds.
	pollEvery = 5 * time.Second
	// pollBatch is how many tokens are asked for at once, pollRounds how often at most while the provider has more.
	pollBatch  = 10
	pollRounds = 20
	// pollLease is for how long one authserver alone asks a provider; it takes it anew each time.
	pollLease = 30 * time.Second
	// longestPause is the pause after many failures in a row.
	longestPause = 5 * time.Minute

	thePoll = "poll endpoint"
	// leaseKind is the kind of tickets that are such leases.
	leaseKind = "ssf_poll"

	// ReasonPoll: the poll endpoint does not take Penstock's token, or its answer is none (Precondition).
	ReasonPoll = "SIGNALS_POLL_REFUSED"
)

func newSelf() string { return rand.Text() }

// polled is what one process remembers of a provider that it asks.
type polled struct {
	acks    []string           // identifiers of tokens that were acted upon
	errs    map[string]failure // ... and of those that are none
	next    time.Time
	failing int // failures in a row
}

// Run asks the providers that have a poll endpoint for their events (RFC 8936), until ctx ends; of several authservers one asks
// each. A token is acknowledged after it was acted upon, with the next request. It returns nil.
func (r *Receiver) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	known := make(map[string]*polled)
	for {
		r.round(ctx, known)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// round asks every provider whose time it is.
func (r *Receiver) round(ctx context.Context, known map[string]*polled) {
	view := r.c.View()
	if view == nil {
		return
	}
	for _, idp := range view.Providers() {
		if idp.Signals == nil || idp.Signals.PollEndpoint == "" {
			delete(known, idp.UID)
			continue
		}
		p := known[idp.UID]
		if p == nil {
			p = &polled{errs: make(map[string]failure)}
			known[idp.UID] = p
		}
		if r.c.Now().Before(p.next) {
			continue
		}
		err := r.drain(ctx, idp, p)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.failing++
			p.next = r.c.Now().Add(min(pollEvery<<min(p.failing, 10), longestPause))
			if p.failing == 1 { // once for an outage, however long
				r.c.Log.WarnContext(ctx, "security events cannot be polled", slog.String(attrProvider, idp.Name), obs.Fault(err))
			}
		default:
			p.failing = 0
		}
	}
}

// drain asks one provider until it has no more, if this authserver is the one to ask.
func (r *Receiver) drain(ctx context.Context, idp *directory.Provider, p *polled) error {
	for range pollRounds {
		mine, err := r.lease(ctx, idp)
		if err != nil || !mine {
			return err
		}
		more, err := r.poll(ctx, idp, p)
		if err != nil {
			return err
		}
		if !more && len(p.acks)+len(p.errs) == 0 {
			return nil
		}
	}
	return nil
}

// lease makes this process the one that asks a provider for a while, and tells whether it is.
func (r *Receiver) lease(ctx context.Context, idp *directory.Provider) (mine bool, err error) {
	name := sha256.Sum256([]byte(idp.UID))
	now := r.c.Now().UTC().Truncate(time.Microsecond)
	err = r.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		mine = false
		held, err := tx.Ticket(ctx, leaseKind, name)
		switch {
		case err == nil && held.ExpireTime.After(now) && string(held.Data) != r.self:
			return nil
		case err == nil:
			if _, err := tx.TakeTicket(ctx, leaseKind, name); err != nil {
				return err
			}
		case fault.From(err).Reason != store.ReasonRowMissing:
			return err
		}
		mine = true
		return tx.PutTicket(ctx, store.Ticket{Kind: leaseKind, Hash: name, Data: []byte(r.self), ExpireTime: now.Add(pollLease)})
	})
	if err == nil {
		return mine, nil
	}
	if reason := fault.From(err).Reason; reason == store.ReasonRowExists || reason == store.ReasonRowMissing {
		return false, nil // another one was faster
	}
	return false, err
}

// poll sends one request and takes the tokens of its answer.
func (r *Receiver) poll(ctx context.Context, idp *directory.Provider, p *polled) (more bool, err error) {
	s := idp.Signals
	ask := oauthclient.Requester{Egress: r.c.Egress, Now: r.c.Now}
	if err := ask.Secure(thePoll, s.Issuer, s.PollEndpoint); err != nil {
		return false, err
	}
	header := http.Header{}
	if s.PollTokenVersion != "" {
		secret, err := r.c.Secrets.Resolve(ctx, idp.SignalsKey(), s.PollTokenVersion)
		if err != nil {
			return false, err
		}
		header.Set("Authorization", "Bearer "+secret.ClientSecret.Reveal())
	}
	body, err := json.Marshal(struct {
		Max         int                `json:"maxEvents"`
		Immediately bool               `json:"returnImmediately"`
		Acks        []string           `json:"ack,omitempty"`
		Errs        map[string]failure `json:"setErrs,omitempty"`
	}{pollBatch, true, p.acks, p.errs})
	if err != nil {
		return false, errors.New("encode a poll request")
	}
	a, err := ask.PostJSON(ctx, thePoll, s.PollEndpoint, string(body), header)
	if err != nil {
		return false, err
	}
	if a.Status != http.StatusOK {
		return false, fault.Newf(fault.Precondition, ReasonPoll, "The poll endpoint of %q answers %d: check shared_signals.poll_token.", idp.Name, a.Status)
	}
	var said struct {
		Sets map[string]string `json:"sets"`
		More bool              `json:"moreAvailable"`
	}
	if err := a.Decode(&said); err != nil {
		return false, fault.Newf(fault.Precondition, ReasonPoll, "The answer of the poll endpoint of %q cannot be read.", idp.Name).Because(err)
	}
	p.acks, p.errs = nil, make(map[string]failure)
	for id, raw := range said.Sets {
		if len(p.acks)+len(p.errs) >= 2*pollBatch {
			break // more than was asked for; they come again
		}
		err := r.take(ctx, idp, raw)
		var no *refusal
		switch {
		case err == nil:
			p.acks = append(p.acks, id)
		case errors.As(err, &no):
			r.refused(ctx, idp, no)
			p.errs[id] = failure{no.code, no.description}
		default:
			return false, err // the token comes again; what was done is acknowledged with the next request
		}
	}
	return said.More, nil
}
