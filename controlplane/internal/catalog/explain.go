// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonExplainAssumes (Denied): the caller may ask about their own calls only as they can make them.
const ReasonExplainAssumes = "EXPLAIN_ASSUMES"

// ExplainTarget is what a question about a call is about. Exactly one of User, Team, ServiceAccount, Token and Organization is set.
type ExplainTarget struct {
	Gateway                           string
	User, Team, ServiceAccount, Token string
	Organization                      bool
	Assumes                           bool // it makes up the time, the context, the client or how the caller proves itself
	Node                              bool // it names the node that answers
}

// Explains decides whether a caller may ask what would become of a call (G-36): an ADMIN about anybody, an EDITOR about anybody at
// gateways that they manage, everybody about themselves. whole says that they may be told everything; others are told what the call
// would tell them. The faults are NotFound for a gateway that the caller may not see and for a principal that there is not, and
// Denied.
func (c *Catalog) Explains(ctx context.Context, caller Caller, t ExplainTarget) (whole bool, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		whole, err = explains(ctx, desk.New(r, caller), t)
		return err
	})
	return whole, err
}

func explains(ctx context.Context, d *desk.Desk, t ExplainTarget) (bool, error) {
	who, err := d.Who(ctx)
	if err != nil {
		return false, err
	}
	g, err := desk.Find[*Gateway](ctx, d, KindGateway, t.Gateway)
	if err != nil {
		return false, err
	}
	if g == nil || !who.Sees(g, nil) && !who.Explains(g) {
		return false, desk.NotFound(KindGateway, t.Gateway)
	}
	if t.Node && !who.Unlimited() {
		return false, fault.New(fault.Denied, access.ReasonRoleRequired, "You may not choose the node that answers: that needs the role ADMIN.")
	}
	if who.Explains(g) {
		return true, exists(ctx, d, t)
	}
	own := t.User != "" && t.User == d.Caller.Email
	if t.Token != "" {
		token, err := desk.Find[*BearerToken](ctx, d, KindBearerToken, t.Token)
		if err != nil {
			return false, err
		}
		own = token != nil && token.Owner != nil && token.Owner.User != "" && token.Owner.User == d.Caller.Email
	}
	switch {
	case !own:
		return false, fault.New(fault.Denied, access.ReasonRoleRequired,
			"You may ask about your own calls only: those of others need the role ADMIN, or the role EDITOR and the right to manage the gateway.")
	case t.Assumes:
		return false, fault.New(fault.Denied, ReasonExplainAssumes,
			"You may ask about your own calls as you can make them: leave out the time, the context, the client and the method of authentication.")
	}
	return false, nil
}

// exists returns the fault of a principal that there is not. A team's and the organisation's tokens need not exist.
func exists(ctx context.Context, d *desk.Desk, t ExplainTarget) error {
	for _, one := range []struct {
		kind Kind
		name string
	}{{KindUser, t.User}, {KindTeam, t.Team}, {KindOAuthClient, t.ServiceAccount}, {KindBearerToken, t.Token}} {
		if one.name == "" {
			continue
		}
		o, err := desk.Find[Object](ctx, d, one.kind, one.name)
		if err != nil {
			return err
		}
		if o == nil {
			return desk.NotFound(one.kind, one.name)
		}
	}
	return nil
}
