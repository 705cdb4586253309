// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the faults of this package, besides those of [oauthclient] and of [Subjects]. Where nothing else is said they are
// Precondition, and an administrator has to mend something, as the text says.
const (
	// ReasonDead: who the caller is at the identity provider is not enough any more; the person logs in anew (Precondition).
	ReasonDead = "CREDENTIAL_DEAD"
	// ReasonSubject: the caller's token is of a kind that cannot be exchanged. Nobody was asked.
	ReasonSubject = "UPSTREAM_SUBJECT_INVALID"
	// ReasonAssertion: the identity provider gave something else than the identity assertion it was asked for (JAU-3). It was not
	// redeemed.
	ReasonAssertion = "UPSTREAM_IDJAG_INVALID"
	// ReasonTarget: nobody gives tokens for that audience, resource or scope.
	ReasonTarget = "UPSTREAM_TARGET_REFUSED"
	// ReasonRefused: a policy there does not allow it.
	ReasonRefused = "UPSTREAM_REFUSED"
	// ReasonProvider: the identity provider is gone or disabled.
	ReasonProvider = "UPSTREAM_PROVIDER_UNKNOWN"
	// ReasonUser: the person is gone or deactivated (Denied).
	ReasonUser = "PRINCIPAL_UNKNOWN"
	// ReasonNoDirectory: nothing was heard of a control plane yet (Unavailable).
	ReasonNoDirectory = "DIRECTORY_UNAVAILABLE"
)

const (
	// early is how long before its end a token is not given out any more (JAU-7).
	early = time.Minute
	// unknownLife is how long a token counts whose life nobody said (RFC 8693 §2.2.1 only recommends expires_in); ours.
	unknownLife = 5 * time.Minute
	// forcedOnce is how long after an exchange nobody can force another one: all whom the old token was refused get the new one.
	forcedOnce = time.Minute
	// failedFor is how long what an administrator has to mend is not tried again: calls that fail are often repeated at once. A
	// change of the server ends it.
	failedFor = 30 * time.Second
	// makeTimeout bounds everything that one exchange waits for together; each request has a bound of its own.
	makeTimeout = 25 * time.Second

	actionExchanged = "upstream.credential.exchanged"
	actionFailed    = "upstream.credential.failed"
)

// Token is a token that says who a person is at an identity provider.
type Token struct {
	Value   obs.Secret
	Expires time.Time // zero: not known
}

// StepUp is what an identity provider wants a person to prove at the next login.
type StepUp struct {
	Claims    string        // parameter claims (OpenID Connect Core 1.0 §5.5); empty: none
	ACRValues string        // parameter acr_values; empty: none
	MaxAge    time.Duration // parameter max_age; zero: none
}

// Subjects has the tokens that people's logins left.
type Subjects interface {
	// Token returns a token that is good now. The faults are Precondition CREDENTIAL_MISSING and CREDENTIAL_DEAD (the person logs in),
	// Precondition UPSTREAM_* (an administrator mends it) and Unavailable.
	Token(ctx context.Context, user string, p *directory.Provider, kind directory.Subject) (Token, error)
	// Refused says that a token was refused: the next Token gives a new one, or tells that there is none.
	Refused(ctx context.Context, user string, p *directory.Provider, kind directory.Subject, value obs.Secret) error
	// StepUp says what the next login has to prove; until then Token answers Precondition CREDENTIAL_DEAD and asks nobody.
	StepUp(ctx context.Context, user string, p *directory.Provider, want StepUp) error
}

// Vault has the secrets of Penstock's clients; [vault.Vault] is one.
type Vault interface {
	Resolve(ctx context.Context, connection, version string) (vault.Secret, error)
}

// Config is what an [Exchanger] needs. Now may be nil, which means time.Now.
type Config struct {
	View     func() *directory.View // nil before the first state
	Subjects Subjects
	Vault    Vault
	Audit    store.OAuth
	Egress   egress.Policy // of everything but a registered server's own host (CIMD-5)
	Log      *slog.Logger
	Now      func() time.Time
}

// Exchanger exchanges. It is safe for concurrent use.
type Exchanger struct {
	c       Config
	ask     oauthclient.Requester
	found   documents
	memory  memory
	flights singleflight.Group
}

// New returns an exchanger. It reads and starts nothing.
func New(c Config) (*Exchanger, error) {
	if c.View == nil || c.Subjects == nil || c.Vault == nil || c.Audit == nil || c.Log == nil {
		return nil, errors.New("an exchanger needs a directory, subjects, a vault, an audit log and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	ask := oauthclient.Requester{Egress: c.Egress, Now: c.Now, Settings: oauthclient.Settings{
		Issuer: "token_exchange.issuer", Endpoints: "token_exchange.token_endpoint",
	}}
	return &Exchanger{c: c, ask: ask, found: newDocuments(c.Now), memory: newMemory(c.Now)}, nil
}

// job is one credential to be made.
type job struct {
	server   *directory.Server
	how      *directory.Exchange
	provider *directory.Provider
	user     string // uid
	key      key

	presented Token // what the caller brought along; the zero value: nothing that is exchanged here
}

// Resolve returns the header for calls to a server on behalf of a user (uid), and until when it may be kept. presented is the token
// that the caller came with, and presentedBy the name of the identity provider that issued it; both are empty for callers who came
// otherwise. It is exchanged where it is of the server's provider and an access token is wanted, else what the user's login left is.
// refused says that the server did not take what was given out last: then it is made anew, once a minute at most.
//
// What was made is kept in memory per user, server, version of how it is made, and presented token (JAU-7, UP-9), and made once for
// all who ask at the same time. The faults are those of [Subjects] and [oauthclient.Requester], and those whose reasons stand above.
func (x *Exchanger) Resolve(
	ctx context.Context, s *directory.Server, user string, presented obs.Secret, presentedBy string, refused bool,
) (vault.Secret, time.Time, error) {
	j, err := x.job(s, user, presented, presentedBy)
	if err != nil {
		return vault.Secret{}, time.Time{}, err
	}
	was := x.memory.get(j.key)
	if !was.usable(x.c.Now(), refused) {
		if was, err = x.once(ctx, j, was); err != nil {
			return vault.Secret{}, time.Time{}, err
		}
	}
	if was.failed != nil {
		return vault.Secret{}, time.Time{}, was.failed
	}
	return vault.Secret{Headers: map[string]obs.Secret{"Authorization": "Bearer " + was.token}}, was.until, nil
}

// Forget drops everything that was made for a user (uid), and what is just being made (JAU-7).
func (x *Exchanger) Forget(user string) { x.memory.forget(user) }

// job checks what was asked for against the directory.
func (x *Exchanger) job(s *directory.Server, user string, presented obs.Secret, presentedBy string) (*job, error) {
	view := x.c.View()
	if view == nil {
		return nil, fault.New(fault.Unavailable, ReasonNoDirectory, "The directory is not there yet.").After(time.Second)
	}
	if view.User(user) == nil {
		return nil, fault.New(fault.Denied, ReasonUser, "The user is not there or is deactivated.")
	}
	p := view.Provider(s.Exchange.Provider)
	if p == nil {
		return nil, refuse(ReasonProvider, "The identity provider %q of the server %q is gone or disabled (token_exchange.identity_provider).", s.Exchange.Provider, s.Name)
	}
	j := &job{server: s, how: s.Exchange, provider: p, user: user, key: key{user: user, server: s.UID, made: s.Made}}
	if presented == "" || presentedBy != p.Name || j.how.Subject != directory.SubjectAccessToken {
		return j, nil
	}
	j.key.presented = sha256.Sum256([]byte(presented.Reveal()))
	c, err := checkPresented(view, p, user, presented)
	if err != nil {
		return nil, err
	}
	j.presented = Token{Value: presented, Expires: c.expires()}
	return j, nil
}

// once makes a credential once for all who ask for it, and goes on if one of them goes away. was is what they saw before.
func (x *Exchanger) once(ctx context.Context, j *job, was *held) (*held, error) {
	done := x.flights.DoChan(j.key.String(), func() (any, error) {
		if now := x.memory.get(j.key); now != was && now.usable(x.c.Now(), false) {
			return now, nil // somebody else was first
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeTimeout)
		defer cancel()
		return x.make(ctx, j)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		h, _ := r.Val.(*held)
		return h, r.Err
	}
}

// make makes a credential and keeps it, or why there is none.
func (x *Exchanger) make(ctx context.Context, j *job) (*held, error) {
	began := x.memory.began()
	g, err := x.obtain(ctx, j)
	if err == nil {
		err = x.record(ctx, j, actionExchanged, "ok", "")
	}
	now := x.c.Now()
	if err == nil {
		h := &held{token: g.token, obtained: now, until: g.until(now)}
		if !x.memory.put(j.key, h, began) {
			return nil, fault.New(fault.Denied, ReasonUser, "The user's credentials were ended meanwhile.")
		}
		return h, nil
	}
	f := fault.From(err)
	if f.Kind != fault.Precondition || f.Reason == reasonMissing {
		return nil, err
	}
	if recorded := x.record(ctx, j, actionFailed, "refused", f.Reason); recorded != nil {
		x.c.Log.ErrorContext(ctx, "failed exchange not recorded", obs.Fault(recorded))
	}
	if f.Reason == ReasonDead { // a login mends it, at any moment
		return nil, err
	}
	x.c.Log.WarnContext(ctx, "token not exchanged", slog.String(obs.AttrServer, j.server.Name), obs.Fault(err))
	x.memory.put(j.key, &held{failed: f, obtained: now, until: now.Add(failedFor)}, began)
	return nil, err
}

func (x *Exchanger) record(ctx context.Context, j *job, action, result, reason string) error {
	return x.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		return tx.Record(ctx, store.Event{
			Time: x.c.Now(), ActorType: "user", Actor: j.user, Action: action, Target: j.server.Name, Result: result, Reason: reason,
		})
	})
}

func refuse(reason, text string, args ...any) *fault.Fault {
	return fault.Newf(fault.Precondition, reason, text, args...)
}

func dead(text string) *fault.Fault { return fault.New(fault.Precondition, ReasonDead, text) }
