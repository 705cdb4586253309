// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// forcedOnce is how long after a renewal a token that is refused is not worth another one.
	forcedOnce = time.Minute

	renewTimeout = 20 * time.Second // of everything
	leaseTime    = 30 * time.Second // longer than that, so that a lease never ends before who has it
	leasePoll    = 100 * time.Millisecond
	keepTries    = 5 // at storing what a renewal gave: the old refresh token may be worth nothing by then
)

// errand is what is to be done with a refresh token by one process at a time.
type errand struct {
	done  func(l *kept) bool                                              // somebody else did it
	spare func(l *kept) bool                                              // it need not be waited for
	ask   func(ctx context.Context, o owner, h vault.Held, l *kept) error // does it
}

// renew renews the tokens of a login for whoever needs one of a kind: once for all who ask in this process, and it goes on if one
// of them goes away.
func (k *Keeper) renew(ctx context.Context, o owner, kind directory.Subject) error {
	e := errand{
		done:  func(l *kept) bool { return l.isGood(kind, k.c.Now()) || !l.isRenewable(kind) },
		spare: func(l *kept) bool { return l.isUsable(kind, k.c.Now()) },
	}
	e.ask = func(ctx context.Context, o owner, h vault.Held, l *kept) error {
		err := k.renewNow(ctx, o, h, l)
		if err != nil && e.spare(l) && fault.From(err).Reason != ReasonDead {
			return nil // what there is stays until its end
		}
		return err
	}
	_, err := k.once(ctx, o.key()+" "+strconv.Itoa(int(kind)), func(ctx context.Context) (any, error) { return nil, k.alone(ctx, o, e) })
	return err
}

// once does something once for all who ask in this process, under a time of its own.
func (k *Keeper) once(ctx context.Context, key string, fn func(ctx context.Context) (any, error)) (any, error) {
	done := k.renewed.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		return fn(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.Val, r.Err
	}
}

// alone runs an errand over all authservers: one has the lease, the others wait for what it stores, or for their turn.
func (k *Keeper) alone(ctx context.Context, o owner, e errand) error {
	poll := time.NewTicker(leasePoll)
	defer poll.Stop()
	for {
		h, l, err := k.read(ctx, o)
		if err != nil || e.done(l) {
			return err
		}
		mine, err := k.c.Vault.Lease(ctx, h, k.c.Now().Add(leaseTime))
		switch {
		case err != nil:
			return err
		case mine:
			return k.leased(ctx, o, h, e)
		case e.spare(l):
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fault.New(fault.Unavailable, ReasonBusy, "The tokens of the login are being renewed by another authserver.").Because(ctx.Err()).After(time.Second)
		}
	}
}

// leased runs an errand under a lease. What is kept is read again: who had the lease before may have used the refresh token up
// between the reading and the lease.
func (k *Keeper) leased(ctx context.Context, o owner, h vault.Held, e errand) error {
	// A time of its own: a request that is cut off because the wait for the lease took long may have used the refresh token up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	defer func() {
		if err := k.c.Vault.EndLease(context.WithoutCancel(ctx), h); err != nil {
			k.c.Log.WarnContext(ctx, "lease of kept tokens not ended", obs.Fault(err)) // it ends by itself
		}
	}()
	now, l, err := k.read(ctx, o)
	if err != nil || e.done(l) {
		return err
	}
	return e.ask(ctx, o, now, l)
}

// renewNow gets tokens in place of those of a login.
func (k *Keeper) renewNow(ctx context.Context, o owner, h vault.Held, l *kept) error {
	next := *l
	t, err := k.ask(ctx, o, h, &next, federation.Refresh{})
	if err != nil {
		return err
	}
	next.Access, next.Expires = t.Access.Reveal(), t.Expires
	switch {
	case t.ID != "":
		next.ID, next.IDExpires, next.IDOnce = t.ID.Reveal(), t.IDExpires, false
	case next.Due == directory.SubjectIDToken:
		next.ID, next.IDOnce = "", true
	default:
		next.IDOnce = true
	}
	next.Refreshed, next.Due = k.c.Now().UTC(), 0
	_, err = k.replace(ctx, h, &next, k.event(o, actionRefreshed, resultOK, "")) // a login that came in between counts
	return err
}

// ask sends a refresh token to its provider. l has the new refresh token afterwards, if there is one: the caller stores it, before
// anybody uses the tokens. Where there are none, ask has stored what became of the login.
func (k *Keeper) ask(ctx context.Context, o owner, h vault.Held, l *kept, r federation.Refresh) (federation.Tokens, error) {
	r.Token, r.Subject, r.Nonce = obs.Secret(l.Refresh), l.Subject, l.Nonce
	t, proof, err := k.c.Providers.Renew(ctx, o.p, r)
	if t.Refresh != "" {
		l.Refresh = t.Refresh.Reveal()
	}
	if err == nil {
		return t, nil
	}
	why := fault.From(err).Reason
	err = judge(o.p, err)
	f := fault.From(err)
	e := k.event(o, actionFailed, resultRefused, f.Reason)
	switch {
	case why == federation.ReasonProof:
		l.Wanted = &StepUp{Claims: proof.Claims, ACRValues: proof.ACRValues, MaxAge: proof.MaxAge}
	case why == federation.ReasonEnded:
		l.end()
	case f.Kind != fault.Precondition, t.Refresh == "":
		k.c.Log.WarnContext(ctx, "tokens of a login not renewed", slog.String("provider", o.p.Name), obs.Fault(err))
		if f.Kind == fault.Precondition { // somebody has to mend it
			k.record(ctx, e)
		}
		return t, err
	}
	if _, stored := k.replace(ctx, h, l, e); stored != nil {
		return t, stored
	}
	return t, err
}

// replace stores what became of kept tokens, with its event, and tells whether nothing came in between.
func (k *Keeper) replace(ctx context.Context, h vault.Held, l *kept, e store.Event) (there bool, err error) {
	secret, err := l.secret()
	if err != nil {
		return false, err
	}
	pause := time.NewTicker(2 * leasePoll)
	defer pause.Stop()
	for try := 1; ; try++ {
		err = k.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
			if there, err = k.c.Vault.Replace(ctx, h, secret); err != nil || !there {
				return err
			}
			return tx.Record(ctx, e)
		})
		gone := err != nil && fault.From(err).Reason == vault.ReasonMissing
		if err == nil || gone || try == keepTries || ctx.Err() != nil {
			if gone { // it was ended meanwhile, and the end knows of the old token only
				k.revokeLater(h.Connection(), l)
			}
			return there, err
		}
		<-pause.C
	}
}

// judge makes a fault of what asking a provider came to. Its texts are for administrators, and for the person where she can mend it.
func judge(p *directory.Provider, err error) error {
	f := fault.From(err)
	switch {
	case f.Reason == federation.ReasonEnded:
		return dead(p, "%s has ended the login.").Because(err)
	case f.Reason == federation.ReasonProof:
		return dead(p, "%s wants more proof of who you are.").Because(err)
	case f.Reason == federation.ReasonClient, f.Kind == fault.Precondition:
		return fault.Newf(fault.Precondition, ReasonClient,
			"The identity provider %q does not take Penstock's client: check its client_id and client_secret.", p.Name).Because(err)
	case f.Kind == fault.Denied:
		return fault.Newf(fault.Precondition, ReasonResponse, "The identity provider %q refuses the request for tokens, or its answer cannot be used (%s).", p.Name, f.Reason).Because(err)
	default:
		return err
	}
}
