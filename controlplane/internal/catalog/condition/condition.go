// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// page is how many records are read at once.
const page = 500

// Conditions of a gateway (G-3).
const (
	// HasTools: at least one tool is assigned.
	HasTools = "HasTools"
	// HasClientAuth: clients can authenticate in at least one way.
	HasClientAuth = "HasClientAuth"
	// Visible: the gateway is on and somebody is within its visibility.
	Visible = "Visible"
	// CredentialsResolvable: every pinned connection exists and has the credential that its server needs; where connections are
	// chosen at the call there is one, or somebody who may make one; and what credentials are made of is there.
	CredentialsResolvable = "CredentialsResolvable"
	// Enforced: all connected nodes enforce the gateway as it is.
	Enforced = "Enforced"
	// WithinServers is shown when it is false: a server's visibility was narrowed after its tools were assigned.
	// It cuts no call (G-18) and is no part of Ready.
	WithinServers = "WithinServerVisibility"
	// PromptNames is shown when it is false: naming is NEVER, and prompts came to clash after the gateway was written.
	// It is no part of Ready: nodes put prefixes on them.
	PromptNames = "PromptNames"
	// HeaderShadowed is shown, true, while a credential or a fixed header wins over a pass-through header of clients (G-42). It
	// is no part of Ready.
	HeaderShadowed = "HeaderShadowed"
	// StdioWithoutHeaders is shown, true, while a stdio server is behind a gateway with pass-through headers: it gets none
	// (G-42). It is no part of Ready.
	StdioWithoutHeaders = "StdioWithoutHeaders"
	// SeparateAudiences is shown when it is false: tokens of an identity provider for this gateway count on others too, which an
	// ADMIN has allowed (auth.md JW-2). It is no part of Ready.
	SeparateAudiences = "SeparateAudiences"
	// Ready: all conditions that count are true.
	Ready = "Ready"
)

func holds(kind, message string) resource.Condition {
	return resource.Condition{Type: kind, Status: true, Reason: "OK", Message: message}
}

func fails(kind, reason, format string, args ...any) resource.Condition {
	return resource.Condition{Type: kind, Reason: reason, Message: resource.Clip(fmt.Sprintf(format, args...), 1024)}
}

// Fleet knows what the nodes enforce.
type Fleet interface {
	// Enforced reports whether all connected nodes enforce a revision; false if none is connected.
	Enforced(rev record.Revision) bool
}

// Of returns the conditions of a gateway, complete with its tools: those of G-3, Ready after them, WithinServerVisibility,
// SeparateAudiences and PromptNames if they do not hold, and HeaderShadowed and StdioWithoutHeaders if they do. A nil fleet is one
// without nodes.
func Of(ctx context.Context, d *desk.Desk, g *resource.Gateway, nodes Fleet) ([]resource.Condition, error) {
	visible, err := visibleCondition(ctx, d, g)
	if err != nil {
		return nil, err
	}
	credentials, narrowed, err := credentialConditions(ctx, d, g)
	if err != nil {
		return nil, err
	}
	enforced, err := enforcedCondition(ctx, d, g, nodes)
	if err != nil {
		return nil, err
	}
	ways, err := authCondition(ctx, d, g)
	if err != nil {
		return nil, err
	}
	list := []resource.Condition{toolsCondition(g), ways, visible, credentials, enforced}
	list = append(list, readyCondition(list))
	if narrowed != nil {
		list = append(list, *narrowed)
	}
	passed, err := headerConditions(ctx, d, g)
	if err != nil {
		return nil, err
	}
	list = append(list, passed...)
	shared, err := sharedAudiences(ctx, d, g)
	if err != nil {
		return nil, err
	}
	if shared != nil {
		list = append(list, *shared)
	}
	clashes, err := admission.PromptClashes(ctx, d, g)
	if len(clashes) > 0 {
		var names []string
		for _, c := range clashes {
			names = append(names, c.Server+"/"+c.Upstream)
		}
		list = append(list, fails(PromptNames, "PromptNameClash", "These prompts would have one name with others, so they got prefixes: %s; let the naming put servers in front, or turn some off.", resource.Listed(names)))
	}
	return list, err
}

func toolsCondition(g *resource.Gateway) resource.Condition {
	if len(g.Tools) == 0 {
		return fails(HasTools, "NoToolsAssigned", "No tool is assigned; add entries to tools, each with a tool and a pinned connection, or resolve_at_call_time: {}.")
	}
	return holds(HasTools, fmt.Sprintf("%d tools are assigned.", len(g.Tools)))
}

func readyCondition(list []resource.Condition) resource.Condition {
	var failing []string
	for _, c := range list {
		if !c.Status {
			failing = append(failing, c.Type)
		}
	}
	if len(failing) > 0 {
		return fails(Ready, "NotReady", "These conditions do not hold: %s.", strings.Join(failing, ", "))
	}
	return holds(Ready, "The gateway is ready.")
}

// visibleCondition says whether somebody is let in.
func visibleCondition(ctx context.Context, d *desk.Desk, g *resource.Gateway) (resource.Condition, error) {
	v := g.Visibility
	switch {
	case g.Disabled:
		return fails(Visible, "Disabled", "The gateway is disabled; set disabled to false."), nil
	case v == nil:
		return fails(Visible, "NoVisibility", "No visibility is set."), nil
	case v.Personal != nil:
		ok, err := active(ctx, d, v.Personal.Owner)
		if err != nil || ok {
			return holds(Visible, "Its owner can reach it."), err
		}
		return fails(Visible, "OwnerInactive", "Its owner, %s, is deactivated; reactivate the user or change the visibility.", v.Personal.Owner), nil
	case v.Team != nil:
		for _, name := range v.Team.Teams {
			t, err := desk.Find[*resource.Team](ctx, d, resource.KindTeam, name)
			if err != nil {
				return resource.Condition{}, err
			}
			if t == nil {
				continue
			}
			for _, m := range t.Members {
				if ok, err := active(ctx, d, m.User); err != nil || ok {
					return holds(Visible, "Members of its teams can reach it."), err
				}
			}
		}
		return fails(Visible, "NoMembers", "No team of its visibility has an active member: %s; add members.", resource.Listed(v.Team.Teams)), nil
	default:
		return anybodyActive(ctx, d)
	}
}

func active(ctx context.Context, d *desk.Desk, user string) (bool, error) {
	u, err := desk.Find[*resource.User](ctx, d, resource.KindUser, user)
	return u != nil && !u.Deactivated, err
}

func anybodyActive(ctx context.Context, d *desk.Desk) (resource.Condition, error) {
	for after := ""; ; {
		recs, err := d.R.List(ctx, resource.KindUser, after, page, false)
		if err != nil {
			return resource.Condition{}, err
		}
		for _, rec := range recs {
			if ok, err := active(ctx, d, rec.Name); err != nil || ok {
				return holds(Visible, "Every active user can reach it."), err
			}
		}
		if len(recs) < page {
			return fails(Visible, "NoUsers", "There is no active user; create one."), nil
		}
		after = recs[len(recs)-1].Name
	}
}

// credentialConditions looks at each pinned connection: is it there, has it the credential that its server needs, and is
// its owner still within the server's visibility.
func credentialConditions(ctx context.Context, d *desk.Desk, g *resource.Gateway) (resource.Condition, *resource.Condition, error) {
	var missing, empty, outside []string
	for name, of := range pinned(g) {
		c, err := desk.Find[*resource.Connection](ctx, d, resource.KindConnection, name)
		if err != nil {
			return resource.Condition{}, nil, err
		}
		if c == nil {
			missing = appendNew(missing, name+of)
			continue
		}
		server, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, c.Server)
		if err != nil {
			return resource.Condition{}, nil, err
		}
		if server == nil {
			continue
		}
		if server.NeedsSecret() && c.CredentialVersion == "" {
			empty = appendNew(empty, name+of)
		}
		if access.OwnerMayUse(server, c.Owner, d.Memberships(ctx)) != nil {
			outside = appendNew(outside, server.Name)
		}
	}
	var narrowed *resource.Condition
	if len(outside) > 0 {
		c := fails(WithinServers, "ServerNarrowed", "The visibility of these servers no longer covers the owners of pinned connections: %s; calls go on, but the tools cannot be assigned anew.", resource.Listed(outside))
		narrowed = &c
	}
	unconnected, err := unconnected(ctx, d, g)
	if err != nil {
		return resource.Condition{}, nil, err
	}
	lacking, err := unmakeable(ctx, d, g)
	if err != nil {
		return resource.Condition{}, nil, err
	}
	switch {
	case len(missing) > 0:
		return fails(CredentialsResolvable, "ConnectionMissing", "Pinned connections do not exist: %s; create them again, or pin others.", resource.Listed(missing)), narrowed, d.Failed()
	case len(empty) > 0:
		return fails(CredentialsResolvable, "CredentialMissing", "Pinned connections have no credential: %s; set their secret_headers or secret_env.", resource.Listed(empty)), narrowed, d.Failed()
	case len(lacking.secretless) > 0:
		return fails(CredentialsResolvable, "ClientSecretMissing", "The clients that these servers get their tokens as have no stored secret: %s; set their client_secret.", resource.Listed(lacking.secretless)), narrowed, d.Failed()
	case len(lacking.off) > 0:
		return fails(CredentialsResolvable, "ProvidersOff", "These servers need tokens of an identity provider that is disabled or lacks token_exchange: %s.", resource.Listed(lacking.off)), narrowed, d.Failed()
	case len(unconnected) > 0:
		return fails(CredentialsResolvable, "NobodyConnected", "These servers are resolved at the call, nobody is connected to them, and nobody who reaches the gateway may connect: %s; create a connection, or widen the visibility of the server.", resource.Listed(unconnected)), narrowed, d.Failed()
	default:
		return holds(CredentialsResolvable, "Every pinned connection is there with its credential, and what is resolved at the call can be."), narrowed, d.Failed()
	}
}

// pinned yields the connections that a gateway's tools and server features pin; of says which feature, with a space in
// front, and is empty for a tool.
func pinned(g *resource.Gateway) iter.Seq2[string, string] {
	return func(yield func(name, of string) bool) {
		for _, a := range g.Tools {
			if a.Pinned != nil && !yield(a.Pinned.Connection, "") {
				return
			}
		}
		for _, f := range g.ServerFeatures {
			if f.Pinned != nil && !yield(f.Pinned.Connection, " (server feature "+f.Server+")") {
				return
			}
		}
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// enforcedCondition asks about the newest change of the gateway or of its assignments, those taken away included.
func enforcedCondition(ctx context.Context, d *desk.Desk, g *resource.Gateway, nodes Fleet) (resource.Condition, error) {
	var newest record.Revision
	for _, get := range []func(context.Context, record.Key) (*record.Record, error){d.R.Get, d.R.GetDeleted} {
		rec, err := get(ctx, record.Key{Kind: resource.KindGateway, Name: g.Name})
		if err != nil {
			return resource.Condition{}, err
		}
		if rec != nil {
			newest = max(newest, rec.Revision)
		}
	}
	prefix := g.Name + "/"
	for after, done := prefix, false; !done; {
		recs, err := d.R.List(ctx, resource.KindAssignment, after, page, true)
		if err != nil {
			return resource.Condition{}, err
		}
		done = len(recs) < page
		for _, rec := range recs {
			if !strings.HasPrefix(rec.Name, prefix) {
				done = true
				break
			}
			newest, after = max(newest, rec.Revision), rec.Name
		}
	}
	switch {
	case nodes == nil:
		return fails(Enforced, "NoNode", "No node is connected; start one."), nil
	case !nodes.Enforced(newest):
		return fails(Enforced, "NotEnforcedYet", "Not all nodes enforce revision %d, or none is connected; see: penstock nodes.", newest), nil
	default:
		return holds(Enforced, fmt.Sprintf("All connected nodes enforce revision %d.", newest)), nil
	}
}
