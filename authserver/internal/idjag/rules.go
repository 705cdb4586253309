// SPDX-License-Identifier: Apache-2.0

package idjag

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Providers knows the identity providers and their people; it is the login room.
type Providers interface {
	// Signed returns the claims of a compact JWS that a provider has signed with one of its algorithms. A fault of kind Denied
	// says that it has not.
	Signed(ctx context.Context, idp *directory.Provider, compact string) (claims []byte, err error)
	// Asserted returns the uid of the user whom verified claims tell of, who may be linked or made by it. A fault of kind Denied
	// says that there is none.
	Asserted(ctx context.Context, view *directory.View, idp *directory.Provider, claims []byte) (uid string, err error)
}

// Limiter counts events against limits. Allow takes one of a key in a bucket; Check tells whether there is one. If there is
// none, they return how long to wait.
type Limiter interface {
	Allow(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
	Check(ctx context.Context, bucket, key string) (retry time.Duration, ok bool)
}

// Config is what [Rules] need.
type Config struct {
	Issuer    string                 // of this authorization server: what assertions are made for (JAG-4)
	View      func() *directory.View // nil before the first state
	Providers Providers
	Limiter   Limiter
	// Used reports whether an assertion was used before, by its issuer and `jti`.
	Used func(ctx context.Context, issuer, id string) (bool, error)
	Now  func() time.Time // time.Now if nil
}

// Rules judge identity assertions. They are safe for concurrent use.
type Rules struct{ c Config }

// New returns the rules on their parts.
func New(c Config) (*Rules, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Issuer == "" || c.View == nil || c.Providers == nil || c.Limiter == nil || c.Used == nil {
		return nil, errors.New("identity assertions need an issuer, a directory, providers, a limiter and a memory")
	}
	return &Rules{c: c}, nil
}

// Request is what an authenticated client asks for (RFC 7523 §2.1, RFC 8707 §2.2).
type Request struct {
	Client    string   // client_id
	Public    bool     // the client has nothing to authenticate with
	May       []string // scopes that the client may have; empty: any
	Assertion string
	Resources []string // as sent; nil: not sent
	Scope     string   // as sent; empty: not sent
}

// Facts is what may be recorded of an assertion: nothing that it could be used by (JAG-19).
type Facts struct {
	Issuer      string // of a provider that is trusted; else empty
	SubjectHash string // hexadecimal SHA-256, as is IDHash; empty until the signature is known to be right
	IDHash      string
}

// Verdict is what an assertion stands for.
type Verdict struct {
	Facts

	Provider string // name
	Subject  store.Subject
	User     string // uid
	Gateway  string // uid
	Scopes   []string
	AMR      []string
	AuthTime time.Time // zero: not said
	ID       string    // `jti`
	Until    time.Time // nothing is to be had for it from then on
}

// Judge decides about an assertion. Of one that is refused, the verdict has the facts as far as they are known. Errors are
// [*oauthfault.Error]: invalid_grant for whatever is wrong with the assertion or with what it stands for, with a Reason that
// the client is not told; invalid_client for a public client that the provider's trust does not name (JAG-6); invalid_target
// and invalid_scope for what the request wants beside it (JAG-10, JAG-11); too_many_requests (JAG-20); or faults of kind
// Unavailable. It changes nothing but that a user may be made or linked.
func (r *Rules) Judge(ctx context.Context, q Request) (Verdict, error) {
	view := r.c.View()
	if view == nil {
		return Verdict{}, oauthfault.New(oauthfault.TemporarilyUnavailable, "The authorization server is starting. Try again soon.").For("no_directory")
	}
	t, err := parse(q.Assertion)
	if err != nil {
		return Verdict{}, err
	}
	idp, err := r.provider(view, t.issuer)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Facts: Facts{Issuer: idp.Issuer}, Provider: idp.Name}
	if q.Public && !slices.Contains(idp.IDJAG.PublicClients, q.Client) {
		return v, oauthfault.New(oauthfault.InvalidClient, "The client must authenticate to use an assertion of this identity provider.").
			For("assertion_client_public")
	}
	if wait, ok := r.c.Limiter.Allow(ctx, limit.Assertion, q.Client+" "+idp.Issuer); !ok {
		return v, slowDown(wait)
	}
	payload, err := r.signed(ctx, idp, t)
	if err != nil {
		return v, err
	}
	c, err := readClaims(payload)
	if err != nil {
		return v, err
	}
	v.SubjectHash, v.IDHash = store.Digest(c.subject), store.Digest(c.id)
	if err := c.check(idp, r.c.Issuer, q.Client, r.c.Now()); err != nil {
		return v, err
	}
	gateway, err := target(view, idp, c, q.Resources)
	if err != nil {
		return v, err
	}
	if v.Scopes, err = scopes(gateway, c, q); err != nil {
		return v, err
	}
	if v.User, err = r.user(ctx, view, idp, c, payload); err != nil {
		return v, err
	}
	// She may have come, or got access, a moment ago.
	if view = r.c.View(); !view.Admits(view.Gateway(gateway.UID), view.User(v.User)) {
		return v, refuse("no_access")
	}
	v.Gateway, v.AMR, v.AuthTime, v.ID, v.Until = gateway.UID, c.methods, c.authTime, c.id, c.expires.Add(skew)
	v.Subject = store.Subject{Issuer: idp.Issuer, Subject: c.subject, Session: c.session}
	return v, nil
}

// provider returns the provider that an assertion claims to be of (JAG-2). One of our own would be a circle (JAG-17).
func (r *Rules) provider(view *directory.View, issuer string) (*directory.Provider, error) {
	if issuer == r.c.Issuer {
		return nil, refuse("assertion_of_our_own")
	}
	idp := view.Asserter(issuer)
	if idp == nil {
		return nil, refuse("issuer_not_trusted")
	}
	return idp, nil
}

// signed returns the claims of an assertion that its provider has signed (JAG-2, JAG-3). Whoever brings wrong signatures
// makes us ask the provider for keys, and is slowed down (JAG-20).
func (r *Rules) signed(ctx context.Context, idp *directory.Provider, t token) ([]byte, error) {
	if !slices.Contains(idp.IDJAG.Algorithms, t.algorithm) {
		return nil, refuse("algorithm_not_allowed")
	}
	from := limit.Address(reqctx.From(ctx).IP)
	if wait, ok := r.c.Limiter.Check(ctx, limit.AssertionFailure, from); !ok {
		return nil, slowDown(wait)
	}
	payload, err := r.c.Providers.Signed(ctx, idp, t.compact)
	if fault.KindOf(err) != fault.Denied {
		return payload, err
	}
	if wait, ok := r.c.Limiter.Allow(ctx, limit.AssertionFailure, from); !ok {
		return nil, slowDown(wait)
	}
	return nil, refuse(reasonOf(err)).Because(err)
}

// user returns the uid of the user of an assertion: whoever has the account at the provider, else the one whom a provider that
// is trusted for it names, else the one whom the control plane links or makes (JAG-12).
func (r *Rules) user(ctx context.Context, view *directory.View, idp *directory.Provider, c claims, payload []byte) (string, error) {
	switch {
	case view.UserByIdentity(idp.Issuer, c.subject) != nil:
	case view.Identified(idp.Issuer, c.subject):
		return "", refuse("user_deactivated") // whatever else the assertion says of her
	default:
		if idp.IDJAG.TrustedAudSub && c.audienceSubject != "" {
			if u := view.User(c.audienceSubject); u != nil {
				return u.UID, nil
			}
			return "", refuse("aud_sub_unknown")
		}
		// Somebody may be made or linked now: not for an assertion that is refused in the end.
		used, err := r.c.Used(ctx, idp.Issuer, c.id)
		if err != nil {
			return "", err
		}
		if used {
			return "", refuse("assertion_replayed")
		}
	}
	uid, err := r.c.Providers.Asserted(ctx, view, idp, payload)
	if fault.KindOf(err) == fault.Denied {
		return "", refuse(reasonOf(err)).Because(err)
	}
	return uid, err
}

// refuse is one answer for everything that is wrong with an assertion itself, or with what it stands for (RL-5).
func refuse(reason string) *oauthfault.Error {
	return oauthfault.New(oauthfault.InvalidGrant, "The assertion is not accepted. Get a new one from the identity provider, or ask your administrator.").
		For(reason)
}

// reasonOf is the reason of a fault as audit events have it.
func reasonOf(err error) string { return strings.ToLower(fault.From(err).Reason) }

func slowDown(wait time.Duration) *oauthfault.Error {
	e := oauthfault.New(oauthfault.SlowDown, "Too many assertions. Wait and try again.").For("assertion_limit")
	e.Retry = wait
	return e
}
