// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/idjag"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Assertions judges identity assertions; it is the idjag room.
type Assertions interface {
	Judge(ctx context.Context, q idjag.Request) (idjag.Verdict, error)
}

// assert redeems an identity assertion (JAG-1 to JAG-18). Whether it is new is asked last, together with the grant that it
// makes: an assertion that somebody stole and misused is still good for its client (JAG-9).
func (e *Endpoint) assert(ctx context.Context, c *clients.Client, form url.Values) (grants.Issue, error) {
	if !c.Asserts() {
		return grants.Issue{}, unauthorized()
	}
	if form.Get("assertion") == "" {
		return grants.Issue{}, missing("assertion")
	}
	v, err := e.c.Assertions.Judge(ctx, idjag.Request{
		Client: c.ID, Public: c.Public(), May: c.Scopes, Assertion: form.Get("assertion"), Resources: form["resource"], Scope: form.Get("scope"),
	})
	var issue grants.Issue
	if err == nil {
		issue, err = e.c.Grants.Assert(ctx, grants.Assertion{
			Client: e.known(c), User: v.User, Gateway: v.Gateway, Scopes: v.Scopes, Provider: v.Provider, AMR: v.AMR, AuthTime: v.AuthTime,
			Subject: v.Subject, ID: v.ID, Until: v.Until,
		})
	}
	decision := "accepted"
	if err != nil {
		decision = oauthfault.From(err).Reason
		err = judged{error: err, facts: v.Facts}
	}
	e.c.Log.InfoContext(ctx, "identity assertion judged", obs.AttrRequestID, reqctx.From(ctx).ID, slog.String("iss", v.Issuer),
		slog.String("sub_hash", v.SubjectHash), slog.String("jti_hash", v.IDHash), slog.String("client_id", c.ID), slog.String("decision", decision))
	return issue, err
}

// judged is the error of an assertion that was refused, with what may be recorded of it.
type judged struct {
	error

	facts idjag.Facts
}

// Unwrap returns the error itself.
func (j judged) Unwrap() error { return j.error }
