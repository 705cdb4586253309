// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the faults of this package. Where no kind is named it is Precondition.
const (
	// ReasonMissing: nothing is kept, or not of that kind; the person logs in with the provider.
	ReasonMissing = vault.ReasonMissing
	// ReasonDead: what is kept is over, or the provider wants to see the person again; she logs in with it anew.
	ReasonDead = "CREDENTIAL_DEAD"
	// ReasonOff: tokens of the provider are not kept; an administrator sets token_exchange.
	ReasonOff = "UPSTREAM_TOKENS_NOT_KEPT"
	// ReasonClient: the provider does not take Penstock's client; an administrator mends it.
	ReasonClient = "UPSTREAM_CLIENT_REFUSED"
	// ReasonResponse: an answer of the provider cannot be used; an administrator mends it.
	ReasonResponse = "UPSTREAM_RESPONSE_INVALID"
	// ReasonBusy: another authserver renews the tokens and takes long (Unavailable).
	ReasonBusy = "UPSTREAM_BUSY"
)

const (
	actionKept      = "idp_tokens.kept"
	actionRefreshed = "idp_tokens.refreshed"
	actionFailed    = "idp_tokens.failed"
	actionEnded     = "idp_tokens.ended"

	resultOK      = "ok"
	resultRefused = "refused"
)

// Vault keeps tokens; [vault.Vault] is one.
type Vault interface {
	Hold(ctx context.Context, connection, version string) (vault.Held, error)
	Lease(ctx context.Context, h vault.Held, until time.Time) (bool, error)
	EndLease(ctx context.Context, h vault.Held) error
	Replace(ctx context.Context, h vault.Held, s vault.Secret) (bool, error)
	PutOnce(ctx context.Context, connection, version string, s vault.Secret) (bool, error)
	Delete(ctx context.Context, connection string) (int, error)
	Connections(ctx context.Context, prefix, after string, limit int) ([]string, error)
}

// Providers asks identity providers, as the client that people log in through; [login.Login] is one.
type Providers interface {
	// Renew gets tokens with a refresh token; see [federation.Party.Refresh]. A Precondition is about the client's secret.
	Renew(ctx context.Context, idp *directory.Provider, r federation.Refresh) (federation.Tokens, federation.Proof, error)
	// Revoke ends a refresh token.
	Revoke(ctx context.Context, idp *directory.Provider, token obs.Secret) error
}

// Config is what a [Keeper] needs. Now may be nil, which means time.Now.
type Config struct {
	View      func() *directory.View // nil before the first state
	Vault     Vault
	Audit     store.OAuth
	Providers Providers
	Log       *slog.Logger
	Now       func() time.Time
}

// Keeper keeps tokens of logins. It is safe for concurrent use.
type Keeper struct {
	c           Config
	renewed     singleflight.Group
	revocations chan revocation // for Run

	mu      sync.Mutex // guards what follows
	given   map[want]gift
	dropped uint64 // how often something of it was forgotten
}

// New returns a keeper. It reads and starts nothing: see [Keeper.Run].
func New(c Config) (*Keeper, error) {
	if c.View == nil || c.Vault == nil || c.Audit == nil || c.Providers == nil || c.Log == nil {
		return nil, errors.New("kept tokens need a directory, a vault, an audit log, identity providers and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Keeper{c: c, revocations: make(chan revocation, revokeQueue), given: make(map[want]gift)}, nil
}

// Keep implements login.Subjects: it keeps the tokens of a login, in place of those of the last one. The refresh token of that one
// is left alone: some providers end all tokens of an account with one of them.
func (k *Keeper) Keep(ctx context.Context, user string, idp *directory.Provider, t federation.Tokens) error {
	if err := off(idp); err != nil {
		return err
	}
	l := &kept{
		Issuer: idp.Issuer, Client: idp.ClientID, Subject: t.Subject, Nonce: t.Nonce, Access: t.Access.Reveal(), Expires: t.Expires,
		ID: t.ID.Reveal(), IDExpires: t.IDExpires, Refresh: t.Refresh.Reveal(), Obtained: k.c.Now().UTC(),
	}
	secret, err := l.secret()
	if err != nil {
		return err
	}
	o := owner{user, idp}
	e := k.event(o, actionKept, resultOK, "")
	e.ActorType, e.Actor = "user", user
	for range keepTries {
		done := false
		err = k.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
			if done, err = k.put(ctx, o.key(), secret); err != nil || !done {
				return err
			}
			return tx.Record(ctx, e)
		})
		if err != nil {
			return fmt.Errorf("keep the tokens of a login: %w", err)
		}
		if done {
			k.drop(func(w want) bool { return w.user == user && w.provider == idp.UID })
			return nil
		}
	}
	return fault.New(fault.Unavailable, ReasonBusy, "The tokens of the login change all the time.")
}

// put stores what is kept under a key, and tells whether nothing came in between.
func (k *Keeper) put(ctx context.Context, key string, s vault.Secret) (bool, error) {
	first, err := k.c.Vault.PutOnce(ctx, key, version, s)
	if err != nil || first {
		return first, err
	}
	h, err := k.c.Vault.Hold(ctx, key, version)
	switch {
	case err == nil:
		return k.c.Vault.Replace(ctx, h, s)
	case fault.From(err).Reason == vault.ReasonUnreadable: // its key is lost: a new login mends that
		if _, err := k.c.Vault.Delete(ctx, key); err != nil {
			return false, err
		}
		return k.c.Vault.PutOnce(ctx, key, version, s)
	case fault.From(err).Reason == vault.ReasonMissing: // gone meanwhile
		return false, nil
	default:
		return false, err
	}
}

// Held returns nil if there is what calls of a server need of a user's login: it is kept, not dead, and has tokens of the kind. The
// faults are those of [Keeper.Token], but nobody is asked.
func (k *Keeper) Held(ctx context.Context, user string, p *directory.Provider, s *directory.Server) error {
	_, l, err := k.read(ctx, owner{user, p})
	if err != nil {
		return err
	}
	kind := directory.SubjectRefreshToken
	if s.Exchange != nil {
		kind = s.Exchange.Subject
	}
	if l.value(kind) == "" {
		return missing(p, kind)
	}
	return nil
}

// Wanted implements login.Subjects.
func (k *Keeper) Wanted(ctx context.Context, user string, idp *directory.Provider) (p federation.Proof, again bool, err error) {
	_, l, err := k.load(ctx, owner{user, idp}.key())
	switch {
	case err != nil && fault.KindOf(err) == fault.Precondition: // nothing is kept, or nothing that can be read
		return p, false, nil
	case err != nil:
		return p, false, err
	}
	// OpenID Connect Core 1.0 §11: some providers give a refresh token only to whoever consents. The others have given one.
	p.Consent = l.Refresh == "" && !l.Dead
	if w := l.Wanted; w != nil {
		p.Claims, p.ACRValues, p.MaxAge = w.Claims, w.ACRValues, w.MaxAge
		again = *w == StepUp{}
	}
	return p, again, nil
}

// read returns what is kept and can be used, with the form it was read in.
func (k *Keeper) read(ctx context.Context, o owner) (vault.Held, *kept, error) {
	if err := off(o.p); err != nil {
		return vault.Held{}, nil, err
	}
	h, l, err := k.load(ctx, o.key())
	switch {
	case err == nil:
	case fault.From(err).Reason == vault.ReasonMissing:
		return h, nil, missing(o.p, directory.SubjectAccessToken).Because(err)
	case fault.From(err).Reason == vault.ReasonUnreadable:
		return h, nil, dead(o.p, "What was kept of the login with %s cannot be read.").Because(err)
	default:
		return h, nil, err
	}
	switch {
	case l.Issuer != o.p.Issuer || l.Client != o.p.ClientID:
		return h, nil, dead(o.p, "The login was before %s was set up anew.")
	case l.Dead:
		return h, nil, dead(o.p, "%s has ended the login.")
	case l.Wanted != nil:
		return h, nil, dead(o.p, "%s wants more proof of who you are.")
	}
	return h, l, nil
}

// load returns what is kept under a key, whatever it is worth. The faults are those of [vault.Vault.Hold].
func (k *Keeper) load(ctx context.Context, key string) (vault.Held, *kept, error) {
	h, err := k.c.Vault.Hold(ctx, key, version)
	if err != nil {
		return h, nil, err
	}
	l, err := keptOf(h.Secret)
	return h, l, err
}

// off returns an error unless tokens of a provider are kept.
func off(p *directory.Provider) error {
	if p.Kept != nil {
		return nil
	}
	return fault.Newf(fault.Precondition, ReasonOff, "Tokens of the identity provider %q are not kept: set its token_exchange.", p.Name)
}

func missing(p *directory.Provider, kind directory.Subject) *fault.Fault {
	if kind == directory.SubjectRefreshToken {
		return fault.Newf(fault.Precondition, ReasonMissing, "%s gave no refresh token at the last login: log in with it anew.", p.Title())
	}
	return fault.Newf(fault.Precondition, ReasonMissing, "Nothing is kept of a login with %s: log in with it.", p.Title())
}

// dead returns the fault of a login that is of no use; the text has a place for the provider's title.
func dead(p *directory.Provider, text string) *fault.Fault {
	return fault.Newf(fault.Precondition, ReasonDead, text+" Log in with it anew.", p.Title())
}

func (k *Keeper) event(o owner, action, result, reason string) store.Event {
	return store.Event{
		Time: k.c.Now(), ActorType: "system", Action: action, Target: o.user + "/" + o.p.Name, Result: result, Reason: reason,
	}
}

// record stores an event of a failure; what failed does not depend on it.
func (k *Keeper) record(ctx context.Context, e store.Event) {
	err := k.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, e) })
	if err != nil {
		k.c.Log.ErrorContext(ctx, "end of kept tokens not recorded", obs.Fault(err))
	}
}
