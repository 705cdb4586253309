// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/assertion"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/remote"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Authenticate returns the client that makes a request to the token or revocation endpoint: by HTTP Basic, by client_secret
// or client_assertion in the form, or, a public one, by its client_id (RFC 6749 §2.3, TK-17, TK-18). form is the parsed
// body. A document may be of the last 24 h (CIMD-7): what such a request redeems rests on consent.
//
// Errors are [*oauthfault.Error]: invalid_request for no client_id, repeated parameters and several methods; invalid_client
// for a client that is unknown, cannot be resolved or fails to authenticate; invalid_grant for a code or a refresh token of
// a disabled client; too_many_requests; temporarily_unavailable. It is not called within a transaction.
func (s *Clients) Authenticate(ctx context.Context, r *http.Request, form url.Values) (*Client, error) {
	p, err := present(r, form)
	if err != nil {
		return nil, err
	}
	c, err := s.ForConsented(ctx, p.id)
	if err != nil {
		return nil, p.challenge(unresolved(err, p.id, form.Get("grant_type")))
	}
	if c.Public() && p.assertion == nil {
		return c, nil // a client_secret of a public client says nothing (TK-18)
	}
	pair := limit.Pair(c.ID, reqctx.From(ctx).IP)
	if wait, ok := s.config.Limiter.Check(ctx, limit.ClientFailure, pair); !ok {
		return nil, slowDown(wait)
	}
	err = s.prove(ctx, c, p)
	var final *oauthfault.Error
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &final):
		return nil, final
	}
	s.config.Logger.InfoContext(ctx, "client authentication failed", "client_id", c.ID, obs.AttrError, err.Error())
	if wait, ok := s.config.Limiter.Allow(ctx, limit.ClientFailure, pair); !ok {
		return nil, slowDown(wait)
	}
	return nil, p.challenge(oauthfault.New(oauthfault.InvalidClient, "Client authentication failed.").Because(err))
}

func slowDown(wait time.Duration) *oauthfault.Error {
	e := oauthfault.New(oauthfault.SlowDown, "Client authentication failed too often from this address. Wait and try again.")
	e.Retry = wait
	return e
}

// unresolved is the error for a client that is not found (CIMD-17, REG-15, TK-14).
func unresolved(err error, id, grantType string) *oauthfault.Error {
	switch f := fault.From(err); f.Reason {
	case ReasonUnknown:
		return oauthfault.New(oauthfault.InvalidClient, "The client is not registered. Register again, or remove and add the server.").Because(err)
	case ReasonDocument:
		return oauthfault.New(oauthfault.InvalidClient, "The client metadata document at the client_id cannot be used.").Because(err)
	case ReasonRefused:
		if !strings.HasPrefix(id, cimd.Prefix) && (grantType == metadata.GrantCode || grantType == metadata.GrantRefresh) {
			return oauthfault.New(oauthfault.InvalidGrant, "The client is disabled.").Because(err)
		}
		return oauthfault.New(oauthfault.InvalidClient, "The client is not allowed.").Because(err)
	default:
		return oauthfault.From(err)
	}
}

// prove checks that the request is the client's. An [*oauthfault.Error] is what to answer; any other error is a failed
// authentication.
func (s *Clients) prove(ctx context.Context, c *Client, p presented) error {
	switch {
	case p.assertion != nil:
		return s.proveAssertion(ctx, c, p.assertion)
	case c.Method == directory.MethodClientSecret && p.secret != "":
		sum, same := sha256.Sum256([]byte(p.secret)), 0
		for _, stored := range c.SecretSHA256 {
			same |= subtle.ConstantTimeCompare(sum[:], stored[:])
		}
		if same == 1 {
			return nil
		}
		return errors.New("the secret is wrong")
	default:
		// What is missing is not a guess: it is not counted, so that nobody can shut a client out without trying.
		return p.challenge(oauthfault.New(oauthfault.InvalidClient, "The client must authenticate with "+string(c.Method)+"."))
	}
}

func (s *Clients) proveAssertion(ctx context.Context, c *Client, a *assertion.Assertion) error {
	if len(c.JWKS) == 0 && c.JWKSURI == "" || c.Method == directory.MethodClientSecret {
		return errors.New("the client has no keys")
	}
	audiences := []string{s.config.Issuer}
	if s.config.TokenEndpointAudience {
		audiences = append(audiences, s.config.TokenEndpoint)
	}
	var use assertion.Use
	for _, again := range []bool{false, true} {
		keys, err := s.keys.of(ctx, c, again)
		if err != nil {
			return unfetched(err)
		}
		use, err = a.Verify(keys, c.ID, audiences, s.config.Now())
		if err != nil && errors.Is(err, assertion.ErrNoKey) && c.JWKSURI != "" && !again {
			continue
		}
		if err != nil {
			return fmt.Errorf("verify the assertion: %w", err)
		}
		break
	}
	if use.Audience != s.config.Issuer {
		s.config.Logger.InfoContext(ctx, "client assertion made for the token endpoint", "client_id", c.ID)
	}
	return s.spend(ctx, c.ID, use)
}

// unfetched is the answer to a key set that cannot be had. It is nobody's guess, and is not counted.
func unfetched(err error) error {
	if f := fault.From(err); f.Reason == remote.ReasonBudget {
		return oauthfault.From(f)
	}
	return oauthfault.New(oauthfault.InvalidClient, "The keys of the client cannot be used.").Because(err)
}

// spend sees to it that an assertion is used once. Without the store it is not used at all.
func (s *Clients) spend(ctx context.Context, id string, use assertion.Use) error {
	fresh := false
	err := s.config.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
		// The prefix keeps clients apart from the issuers of other assertions.
		fresh, err = tx.UseJTI(ctx, "client "+id, use.JTI, use.Until)
		return err
	})
	if err != nil {
		return oauthfault.From(fmt.Errorf("note the assertion: %w", err))
	}
	if !fresh {
		return errors.New("the assertion was used before")
	}
	return nil
}
