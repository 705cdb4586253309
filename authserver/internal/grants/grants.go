// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Prefixes of the secrets of a grant (ST-1).
const (
	CodePrefix    = "psa_"
	RefreshPrefix = "psr_"
)

// Reasons of refusals that are recorded by this package, with the change that they make.
const (
	ReasonCodeReplayed  = "code_replayed"
	ReasonRefreshReused = "refresh_reused"
)

// offlineAccess is the scope that asks for a refresh token (OpenID Connect Core 1.0 §11).
const offlineAccess = "offline_access"

// Access says what is allowed at the moment, by the directory.
type Access interface {
	// Usable returns the canonical resource of a grant's gateway (AZ-6) if its user, or without one its client, is active and
	// may use that gateway; else an [oauthfault.Error] with invalid_grant and a Reason.
	Usable(ctx context.Context, g store.Grant) (resource string, err error)
}

// Verifier verifies our own tokens; it is the signing keys.
type Verifier interface {
	Verify(token, typ string) (claims []byte, err error)
}

// Config is what Grants need.
type Config struct {
	Store  store.OAuth
	Access Access
	Keys   Verifier
	Issuer string
	// AccessTTL is the lifetime of an access token (TK-6), Skew what the clocks of nodes may be behind.
	AccessTTL, Skew time.Duration
	// RefreshIdle is how long a refresh token is good if it is not used (TK-6).
	RefreshIdle time.Duration
	// Grace is how long after its use a refresh token still gives its successor: 0 to 5 minutes (TK-9).
	Grace time.Duration
	// RefreshOnScope restricts refresh tokens to grants with the scope offline_access (TK-15).
	RefreshOnScope bool
	Now            func() time.Time // time.Now if nil
}

// Grants applies the rules. It is safe for concurrent use by several processes on one store.
type Grants struct{ c Config }

// New returns the rules on their parts.
func New(c Config) (*Grants, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	switch {
	case c.Store == nil || c.Access == nil || c.Keys == nil || c.Issuer == "":
		return nil, errors.New("grants need a store, a directory, keys and an issuer")
	case c.AccessTTL <= 5*time.Minute: // TK-6: some clients refresh five minutes before the end
		return nil, errors.New("access tokens must be good for more than five minutes")
	case c.RefreshIdle < c.AccessTTL:
		return nil, errors.New("refresh tokens must outlast access tokens")
	case c.Grace < 0 || c.Grace > 5*time.Minute:
		return nil, errors.New("the grace of refresh tokens is 0 to 5 minutes")
	case c.Skew < 0:
		return nil, errors.New("the clock skew is negative")
	}
	return &Grants{c: c}, nil
}

// Client is what the rules need to know of an authenticated client.
type Client struct {
	ID      string
	Refresh bool // it has the grant type refresh_token
	Trusted bool // by an administrator: its grants rest on no consent (AZ-14)
	// Touch notes, with what the client gets, that it was used; nil notes nothing.
	Touch func(ctx context.Context, tx store.OAuthTx) error
}

// Issue is what a client gets.
type Issue struct {
	Grant    store.Grant
	Resource string   // canonical, `aud`
	Scopes   []string // of the access token: all of the grant's or fewer (TK-12)
	Refresh  string   // refresh token; empty: none
}

// settled is an error after whose making the changes are committed.
type settled struct{ err error }

func (s settled) Error() string { return s.err.Error() }

// update runs fn in a transaction. Of a settled error the changes are kept.
func (g *Grants) update(ctx context.Context, fn func(context.Context, store.OAuthTx) error) error {
	var after error
	err := g.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		after = nil // fn may run again
		err := fn(ctx, tx)
		if s, ok := errors.AsType[settled](err); ok {
			after = s.err
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return after
}

// touch notes that a client was used.
func (c Client) touch(ctx context.Context, tx store.OAuthTx) error {
	if c.Touch == nil {
		return nil
	}
	return c.Touch(ctx, tx)
}

// usable returns the canonical resource if everything the grant rests on still stands (TK-14).
func (g *Grants) usable(ctx context.Context, tx store.OAuthReader, c Client, grant store.Grant) (resource string, err error) {
	if resource, err = g.c.Access.Usable(ctx, grant); err != nil {
		return "", err
	}
	if c.Trusted || grant.User == "" {
		return resource, nil
	}
	_, err = tx.Consent(ctx, grant.User, grant.Client, grant.RedirectHost, grant.Gateway)
	if isMissing(err) {
		return "", invalid("consent_revoked", "The user's consent was taken back. Log in again.")
	}
	return resource, err
}

// revoke ends a grant: its refresh tokens by its RevokeTime, its access tokens by telling the nodes (TK-8). It tells whether
// the grant was good before.
func (g *Grants) revoke(ctx context.Context, tx store.OAuthTx, id string) (bool, error) {
	now := g.now()
	revoked, err := tx.RevokeGrant(ctx, id, now)
	if err != nil || !revoked {
		return false, err
	}
	return true, tx.Revoke(ctx, store.Revocation{
		Kind: store.RevokeGrant, Key: sha256.Sum256([]byte(id)), ExpireTime: now.Add(g.c.AccessTTL + g.c.Skew),
	})
}

// wantsRefresh reports whether a grant comes with a refresh token (TK-15).
func (g *Grants) wantsRefresh(c Client, grant store.Grant) bool {
	return c.Refresh && (!g.c.RefreshOnScope || slices.Contains(grant.Scopes, offlineAccess))
}

// idle returns the end of a refresh token that is made now.
func (g *Grants) idle(now time.Time, grant store.Grant) time.Time {
	if end := now.Add(g.c.RefreshIdle); end.Before(grant.ExpireTime) {
		return end
	}
	return grant.ExpireTime
}

// now is the time as the store keeps it.
func (g *Grants) now() time.Time { return g.c.Now().UTC().Truncate(time.Microsecond) }

// invalid returns an invalid_grant.
func invalid(reason, description string) *oauthfault.Error {
	return oauthfault.New(oauthfault.InvalidGrant, description).For(reason)
}

// otherTarget refuses a resource that is not the authorized one (RFC 8707 §2.2).
func otherTarget() *oauthfault.Error {
	return oauthfault.New(oauthfault.InvalidTarget, "The resource is not the one that was authorized.").For("resource_differs")
}

func isMissing(err error) bool { return err != nil && fault.From(err).Reason == store.ReasonRowMissing }

// event returns an audit event about a grant.
func event(ctx context.Context, action, result, reason string, grant store.Grant) store.Event {
	e := reqctx.Event(ctx, action, result)
	e.ActorType, e.Actor = "client", grant.Client
	if grant.User != "" {
		e.ActorType, e.Actor = "user", grant.User
	}
	e.Client, e.Target, e.Reason = grant.Client, grant.Gateway, reason
	if grant.ID != "" {
		sum := sha256.Sum256([]byte(grant.ID))
		e.Grant = hex.EncodeToString(sum[:])
	}
	return e
}
