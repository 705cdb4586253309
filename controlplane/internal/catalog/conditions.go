// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// Conditions of a gateway (G-3).
const (
	// ConditionHasTools: at least one tool is assigned.
	ConditionHasTools = "HasTools"
	// ConditionHasClientAuth: clients can authenticate in at least one way.
	ConditionHasClientAuth = "HasClientAuth"
	// ConditionVisible: the gateway is on and somebody is within its visibility.
	ConditionVisible = "Visible"
	// ConditionCredentialsResolvable: every pinned connection exists and has the credential that its server needs.
	ConditionCredentialsResolvable = "CredentialsResolvable" //nolint:gosec // a condition, no credential
	// ConditionEnforced: all connected nodes enforce the gateway as it is.
	ConditionEnforced = "Enforced"
	// ConditionWithinServers is shown when it is false: a server's visibility was narrowed after its tools were assigned.
	// It cuts no call (G-18) and is no part of Ready.
	ConditionWithinServers = "WithinServerVisibility"
	// ConditionReady: all conditions that count are true.
	ConditionReady = "Ready"
)

func holds(kind, message string) resource.Condition {
	return resource.Condition{Type: kind, Status: true, Reason: "OK", Message: message}
}

func fails(kind, reason, format string, args ...any) resource.Condition {
	return resource.Condition{Type: kind, Reason: reason, Message: clipped(fmt.Sprintf(format, args...), 1024)}
}

// clipped cuts a text to a number of bytes at a character.
func clipped(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len("…")], "") + "…"
}

// status fills in a gateway's status: where it is and why it is not usable, if it is not.
func (d *desk) status(ctx context.Context, o Object) error {
	g, ok := o.(*Gateway)
	if !ok {
		return nil
	}
	visible, err := d.visibleCondition(ctx, g)
	if err != nil {
		return err
	}
	credentials, narrowed, err := d.credentialConditions(ctx, g)
	if err != nil {
		return err
	}
	enforced, err := d.enforcedCondition(ctx, g)
	if err != nil {
		return err
	}
	list := []resource.Condition{toolsCondition(g), authCondition(g), visible, credentials, enforced}
	list = append(list, readyCondition(list))
	if narrowed != nil {
		list = append(list, *narrowed)
	}
	g.Status = &resource.GatewayStatus{Conditions: list, URL: d.c.cfg.GatewayURL(g.Name)}
	return nil
}

func toolsCondition(g *Gateway) resource.Condition {
	if len(g.Tools) == 0 {
		return fails(ConditionHasTools, "NoToolsAssigned", "No tool is assigned; add entries to tools, each with a tool and a pinned connection.")
	}
	return holds(ConditionHasTools, fmt.Sprintf("%d tools are assigned.", len(g.Tools)))
}

func authCondition(g *Gateway) resource.Condition {
	if g.Authentication == nil || g.Authentication.BearerToken == nil {
		return fails(ConditionHasClientAuth, "NoClientAuthentication", "No client can authenticate; set authentication, for example {bearer_token: {}}.")
	}
	return holds(ConditionHasClientAuth, "Clients authenticate with bearer tokens.")
}

func readyCondition(list []resource.Condition) resource.Condition {
	var failing []string
	for _, c := range list {
		if !c.Status {
			failing = append(failing, c.Type)
		}
	}
	if len(failing) > 0 {
		return fails(ConditionReady, "NotReady", "These conditions do not hold: %s.", strings.Join(failing, ", "))
	}
	return holds(ConditionReady, "The gateway is ready.")
}

// visibleCondition says whether somebody is let in.
func (d *desk) visibleCondition(ctx context.Context, g *Gateway) (resource.Condition, error) {
	v := g.Visibility
	switch {
	case g.Disabled:
		return fails(ConditionVisible, "Disabled", "The gateway is disabled; set disabled to false."), nil
	case v == nil:
		return fails(ConditionVisible, "NoVisibility", "No visibility is set."), nil
	case v.Personal != nil:
		ok, err := d.active(ctx, v.Personal.Owner)
		if err != nil || ok {
			return holds(ConditionVisible, "Its owner can reach it."), err
		}
		return fails(ConditionVisible, "OwnerInactive", "Its owner, %s, is deactivated; reactivate the user or change the visibility.", v.Personal.Owner), nil
	case v.Team != nil:
		for _, name := range v.Team.Teams {
			t, err := find[*Team](ctx, d, KindTeam, name)
			if err != nil {
				return resource.Condition{}, err
			}
			if t == nil {
				continue
			}
			for _, m := range t.Members {
				if ok, err := d.active(ctx, m.User); err != nil || ok {
					return holds(ConditionVisible, "Members of its teams can reach it."), err
				}
			}
		}
		return fails(ConditionVisible, "NoMembers", "No team of its visibility has an active member: %s; add members.", listed(v.Team.Teams)), nil
	default:
		return d.anybodyActive(ctx)
	}
}

func (d *desk) active(ctx context.Context, user string) (bool, error) {
	u, err := find[*User](ctx, d, KindUser, user)
	return u != nil && !u.Deactivated, err
}

func (d *desk) anybodyActive(ctx context.Context) (resource.Condition, error) {
	for after := ""; ; {
		recs, err := d.r.List(ctx, KindUser, after, scanPage, false)
		if err != nil {
			return resource.Condition{}, err
		}
		for _, rec := range recs {
			if ok, err := d.active(ctx, rec.Name); err != nil || ok {
				return holds(ConditionVisible, "Every active user can reach it."), err
			}
		}
		if len(recs) < scanPage {
			return fails(ConditionVisible, "NoUsers", "There is no active user; create one."), nil
		}
		after = recs[len(recs)-1].Name
	}
}

// credentialConditions looks at each pinned connection: is it there, has it the credential that its server needs, and is
// its owner still within the server's visibility.
func (d *desk) credentialConditions(ctx context.Context, g *Gateway) (resource.Condition, *resource.Condition, error) {
	var missing, empty, outside []string
	for _, a := range g.Tools {
		if a.Pinned == nil {
			continue
		}
		name := a.Pinned.Connection
		c, err := find[*Connection](ctx, d, KindConnection, name)
		if err != nil {
			return resource.Condition{}, nil, err
		}
		if c == nil {
			missing = appendNew(missing, name)
			continue
		}
		server, err := find[*Server](ctx, d, KindServer, c.Server)
		if err != nil {
			return resource.Condition{}, nil, err
		}
		if server == nil {
			continue
		}
		if needsSecret(server) && c.CredentialVersion == "" {
			empty = appendNew(empty, name)
		}
		if access.OwnerMayUse(server, c.Owner, d.isMember(ctx)) != nil {
			outside = appendNew(outside, server.Name)
		}
	}
	var narrowed *resource.Condition
	if len(outside) > 0 {
		c := fails(ConditionWithinServers, "ServerNarrowed", "The visibility of these servers no longer covers the owners of pinned connections: %s; calls go on, but the tools cannot be assigned anew.", listed(outside))
		narrowed = &c
	}
	switch {
	case len(missing) > 0:
		return fails(ConditionCredentialsResolvable, "ConnectionMissing", "Pinned connections do not exist: %s; create them again, or pin others.", listed(missing)), narrowed, d.failed
	case len(empty) > 0:
		return fails(ConditionCredentialsResolvable, "CredentialMissing", "Pinned connections have no credential: %s; set their secret_headers or secret_env.", listed(empty)), narrowed, d.failed
	default:
		return holds(ConditionCredentialsResolvable, "Every pinned connection is there with its credential."), narrowed, d.failed
	}
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

func needsSecret(s *Server) bool {
	return s.Credential != nil && (s.Credential.StaticHeaders != nil || s.Credential.StaticEnv != nil)
}

// enforcedCondition asks about the newest change of the gateway or of its assignments, those taken away included.
func (d *desk) enforcedCondition(ctx context.Context, g *Gateway) (resource.Condition, error) {
	var newest Revision
	for _, get := range []func(context.Context, Key) (*Record, error){d.r.Get, d.r.GetDeleted} {
		rec, err := get(ctx, Key{Kind: KindGateway, Name: g.Name})
		if err != nil {
			return resource.Condition{}, err
		}
		if rec != nil {
			newest = max(newest, rec.Revision)
		}
	}
	prefix := g.Name + "/"
	for after, done := prefix, false; !done; {
		recs, err := d.r.List(ctx, KindAssignment, after, scanPage, true)
		if err != nil {
			return resource.Condition{}, err
		}
		done = len(recs) < scanPage
		for _, rec := range recs {
			if !strings.HasPrefix(rec.Name, prefix) {
				done = true
				break
			}
			newest, after = max(newest, rec.Revision), rec.Name
		}
	}
	switch s := d.c.cfg.Status; {
	case s == nil:
		return fails(ConditionEnforced, "NoNode", "No node is connected; start one."), nil
	case !s.Enforced(newest):
		return fails(ConditionEnforced, "NotEnforcedYet", "Not all nodes enforce revision %d, or none is connected; see: penstock nodes.", newest), nil
	default:
		return holds(ConditionEnforced, fmt.Sprintf("All connected nodes enforce revision %d.", newest)), nil
	}
}
