// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/usage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const longestSlug = 63

// ProvisionTeam is a change of a team that is a group of an identity provider. An empty UID makes one. An empty DisplayName
// and a nil ExternalID keep what there is. Members are uids.
type ProvisionTeam struct {
	Provider, UID, DisplayName string
	ExternalID                 *string
	Replace                    bool // all users of the provider go, before Add
	Add, Remove                []string
	Deleted                    bool
}

// ProvisionedTeam is a team as its identity provider sees it. Members are the uids of those that are users of the provider:
// whoever else is in the team is none of its business.
type ProvisionedTeam struct {
	UID, Etag, DisplayName, ExternalID string
	Members                            []string
	CreateTime, UpdateTime             time.Time
}

// ProvisionedTeams returns a page of the teams that are groups of an identity provider, in the order of their names, and how
// many there are. The faults are those of [Catalog.ProvisionedUsers].
func (c *Catalog) ProvisionedTeams(ctx context.Context, q ProvisionQuery) (page []ProvisionedTeam, total int, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		page, total = nil, 0
		p, err := c.provisioning(ctx, onlyReads{r}, q.Provider)
		if err != nil {
			return err
		}
		teams, err := p.teams(ctx)
		if err != nil {
			return err
		}
		uids, err := p.uids(ctx)
		if err != nil {
			return err
		}
		for _, t := range teams {
			if q.UID != "" && q.UID != t.UID || q.ExternalID != "" && q.ExternalID != t.Provisioning.ExternalID ||
				q.Name != "" && !strings.EqualFold(q.Name, t.Provisioning.Name) {
				continue
			}
			if total++; total > q.Skip && len(page) < q.Count {
				page = append(page, seenTeam(t, uids, !q.WithoutMembers))
			}
		}
		return nil
	})
	return page, total, err
}

// ProvisionTeam makes or changes a team that is a group of an identity provider. A new group is the team that the provider's
// group_mappings name for it, if that is no group yet, and else a new team, whose name is made of the group's. A team that is
// given up is deleted, unless others are in it or something needs it: then it stays, and is no group any more. The answer is
// nil for it. Faults are those of [Catalog.ProvisionUser].
func (c *Catalog) ProvisionTeam(ctx context.Context, in ProvisionTeam) (*ProvisionedTeam, Revision, error) {
	var out *ProvisionedTeam
	rev, changed, err := c.cfg.Store.Write(ctx, "scim:"+in.Provider, func(tx Tx) error {
		out = nil
		p, err := c.provisioning(ctx, tx, in.Provider)
		if err != nil {
			return err
		}
		t, err := p.team(ctx, in)
		if err != nil {
			return err
		}
		if in.Deleted {
			return p.giveUp(ctx, t)
		}
		uids, err := p.uids(ctx)
		if err != nil {
			return err
		}
		if err := p.join(ctx, t, in, uids); err != nil {
			return err
		}
		if t, err = desk.Find[*Team](ctx, p.Desk, KindTeam, t.Name); err != nil {
			return err
		}
		seen := seenTeam(t, uids, true)
		out = &seen
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if !changed {
		rev = 0
	}
	return out, rev, nil
}

// teams returns the teams that are groups of the provider.
func (p *provisioning) teams(ctx context.Context) ([]*Team, error) {
	all, err := desk.All[*Team](ctx, p.Desk, KindTeam)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t *Team) bool { return !t.Provisioning.Of(p.provider.Name) }), nil
}

// uids returns the users of the provider, name to uid.
func (p *provisioning) uids(ctx context.Context) (map[string]string, error) {
	users, err := p.users(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(users))
	for _, u := range users {
		if !isGone(u) {
			out[u.Name] = u.UID
		}
	}
	return out, nil
}

func seenTeam(t *Team, uids map[string]string, members bool) ProvisionedTeam {
	out := ProvisionedTeam{
		UID: t.UID, Etag: t.Etag, DisplayName: t.Provisioning.Name, ExternalID: t.Provisioning.ExternalID,
		CreateTime: t.CreateTime, UpdateTime: t.UpdateTime,
	}
	for _, m := range t.Members {
		if uid := uids[m.User]; uid != "" && members {
			out.Members = append(out.Members, uid)
		}
	}
	return out
}

// team returns the team that a request is about, with the name and identifier that it gives.
func (p *provisioning) team(ctx context.Context, in ProvisionTeam) (*Team, error) {
	teams, err := p.teams(ctx)
	if err != nil {
		return nil, err
	}
	var t *Team
	for _, one := range teams {
		switch {
		case in.UID != "" && one.UID == in.UID:
			t = one
		case in.DisplayName != "" && strings.EqualFold(one.Provisioning.Name, in.DisplayName),
			in.ExternalID != nil && *in.ExternalID != "" && one.Provisioning.ExternalID == *in.ExternalID:
			return nil, taken("The identity provider has another group with this displayName or externalId.")
		}
	}
	if in.UID == "" {
		return p.newTeam(ctx, in)
	}
	if t == nil {
		return nil, desk.NotFound(KindTeam, in.UID)
	}
	return t, p.rename(ctx, t, in)
}

// rename stores what a request says of the group itself.
func (p *provisioning) rename(ctx context.Context, stored *Team, in ProvisionTeam) error {
	t, err := resource.Clone(stored)
	if err != nil {
		return err
	}
	if in.DisplayName != "" {
		if t.DisplayName == displayName(t.Provisioning.Name) {
			t.DisplayName = displayName(in.DisplayName)
		}
		t.Provisioning.Name = in.DisplayName
	}
	if in.ExternalID != nil {
		t.Provisioning.ExternalID = *in.ExternalID
	}
	return p.put(ctx, stored, t)
}

func (p *provisioning) newTeam(ctx context.Context, in ProvisionTeam) (*Team, error) {
	if in.DisplayName == "" {
		return nil, refused("A group needs a displayName.")
	}
	as := &resource.Provisioning{IdentityProvider: p.provider.Name, Name: in.DisplayName}
	if in.ExternalID != nil {
		as.ExternalID = *in.ExternalID
	}
	for _, m := range p.provider.GroupMappings {
		if m.Group != as.Name && (as.ExternalID == "" || m.Group != as.ExternalID) {
			continue
		}
		stored, err := desk.Find[*Team](ctx, p.Desk, KindTeam, m.Team)
		if err != nil {
			return nil, err
		}
		if stored == nil || stored.Provisioning != nil {
			continue
		}
		t, err := resource.Clone(stored)
		if err != nil {
			return nil, err
		}
		t.Provisioning = as
		if err := p.put(ctx, stored, t); err != nil {
			return nil, err
		}
		return desk.Find[*Team](ctx, p.Desk, KindTeam, m.Team)
	}
	name := slug(in.DisplayName)
	if name == "" {
		return nil, refused("No team can be named after this displayName; map the group to a team (group_mappings of the identity provider).")
	}
	there, err := desk.Find[*Team](ctx, p.Desk, KindTeam, name)
	if err != nil {
		return nil, err
	}
	if there != nil {
		return nil, taken("There is a team " + name + " that is not this group; map the group to it (group_mappings of the identity provider), or rename the group.")
	}
	if err := p.create(ctx, &Team{Meta: Meta{Name: name}, DisplayName: displayName(in.DisplayName), Provisioning: as}); err != nil {
		return nil, err
	}
	return desk.Find[*Team](ctx, p.Desk, KindTeam, name)
}

// slug makes a team's name out of a group's: "Data & ML" becomes "data-ml".
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case b.Len() >= longestSlug:
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// join brings the members to what a request says.
func (p *provisioning) join(ctx context.Context, t *Team, in ProvisionTeam, uids map[string]string) error {
	t, err := desk.Find[*Team](ctx, p.Desk, KindTeam, t.Name)
	if err != nil {
		return err
	}
	names := make(map[string]string, len(uids))
	for name, uid := range uids {
		names[uid] = name
	}
	out := make(map[string]bool, len(in.Remove))
	for _, uid := range in.Remove {
		out[uid] = true
	}
	var add []string
	wanted := make(map[string]bool, len(in.Add))
	for _, uid := range in.Add {
		name := names[uid]
		if name == "" {
			return refused("A member is no user of this identity provider; provision the user first.")
		}
		if !out[uid] && !wanted[name] {
			wanted[name] = true
			add = append(add, name)
		}
	}
	return p.setMembers(ctx, t, func(m resource.TeamMember) bool {
		uid := uids[m.User]
		return uid == "" || wanted[m.User] || !in.Replace && !out[uid]
	}, add)
}

// setMembers keeps of the members those that stay, with their roles, and adds users by name.
func (p *provisioning) setMembers(ctx context.Context, stored *Team, stays func(resource.TeamMember) bool, add []string) error {
	t, err := resource.Clone(stored)
	if err != nil {
		return err
	}
	t.Members = slices.DeleteFunc(t.Members, func(m resource.TeamMember) bool { return !stays(m) })
	in := make(map[string]bool, len(t.Members)+len(add))
	for _, m := range t.Members {
		in[m.User] = true
	}
	for _, name := range add {
		if !in[name] {
			in[name] = true
			t.Members = append(t.Members, resource.TeamMember{User: name, Role: RoleMember})
		}
	}
	if len(t.Members) > mostMembers {
		return refused("A team has at most 10,000 members.")
	}
	return p.put(ctx, stored, t)
}

func (p *provisioning) put(ctx context.Context, stored, t *Team) error {
	resource.Normalize(t)
	if err := p.admit(ctx, stored, t); err != nil {
		return err
	}
	return p.store(ctx, stored, t, stored.UID)
}

// giveUp ends a group.
func (p *provisioning) giveUp(ctx context.Context, t *Team) error {
	uids, err := p.uids(ctx)
	if err != nil {
		return err
	}
	if err := p.setMembers(ctx, t, func(m resource.TeamMember) bool { return uids[m.User] == "" }, nil); err != nil {
		return err
	}
	left, err := desk.Find[*Team](ctx, p.Desk, KindTeam, t.Name)
	if err != nil {
		return err
	}
	if len(left.Members) == 0 {
		err := usage.Refuse(ctx, p.Desk, left)
		if err == nil {
			_, err = p.remove(ctx, KindTeam, left.Name, "")
			return err
		}
		if fault.KindOf(err) != fault.Precondition {
			return err
		}
	}
	alone, err := resource.Clone(left)
	if err != nil {
		return err
	}
	alone.Provisioning = nil
	return p.put(ctx, left, alone)
}
