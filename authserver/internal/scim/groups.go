// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"net/http"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// maxMembers bounds a list of members, and one request.
const maxMembers = 10_000

// listGroups is RFC 7644 §3.4.2. Entra asks without members.
func (h *Handler) listGroups(c *call) error {
	w, start, none, err := c.wanted("displayName")
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	attributes := names(q.Get("attributes"))
	w.WithoutMembers = names(q.Get("excludedAttributes"))["members"] || len(attributes) > 0 && !attributes["members"]
	var page []directory.ProvisionedTeam
	total := 0
	if !none {
		if page, total, err = h.c.Directory.ListTeams(c.ctx, c.provider.Name, w); err != nil {
			return err
		}
	}
	out := make([]object, 0, len(page))
	for _, t := range page {
		out = append(out, h.group(t))
	}
	c.list(out, total, start)
	return nil
}

func (h *Handler) createGroup(c *call) error {
	change, err := c.group()
	if err != nil {
		return err
	}
	return h.putGroup(c, change, http.StatusCreated, "group.created")
}

// group is the group that the request describes.
func (c *call) group() (directory.TeamChange, error) {
	body, err := c.body()
	if err != nil {
		return directory.TeamChange{}, err
	}
	return groupOf(body)
}

func (h *Handler) getGroup(c *call) error {
	t, err := h.findGroup(c)
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, h.group(t))
	return nil
}

// replaceGroup is RFC 7644 §3.5.1. Members that are no users of the provider are none of its business: they stay.
func (h *Handler) replaceGroup(c *call) error {
	change, err := c.group()
	if err != nil {
		return err
	}
	t, err := h.findGroup(c)
	if err != nil {
		return err
	}
	change.UID = t.UID
	return h.putGroup(c, change, http.StatusOK, "group.updated")
}

// patchGroup is RFC 7644 §3.5.2. The answer has no body: a large group is not sent for each member.
func (h *Handler) patchGroup(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	ops, err := operations(body)
	if err != nil {
		return err
	}
	m := newMembership()
	for _, op := range ops {
		if err := op.onGroup(m); err != nil {
			return err
		}
	}
	t, err := h.findGroup(c)
	if err != nil {
		return err
	}
	m.change.UID = t.UID
	return h.putGroup(c, m.done(), http.StatusNoContent, "group.updated")
}

// deleteGroup takes the provider's users out of the team, which goes unless something else needs it.
func (h *Handler) deleteGroup(c *call) error {
	t, err := h.findGroup(c)
	if err != nil {
		return err
	}
	return h.putGroup(c, directory.TeamChange{UID: t.UID, Deleted: true}, http.StatusNoContent, "group.deleted")
}

// findGroup returns the group that a request names, and insists on the state that the request knows.
func (h *Handler) findGroup(c *call) (directory.ProvisionedTeam, error) {
	missing := &problem{status: http.StatusNotFound, detail: "The identity provider has no such resource."}
	id := c.r.PathValue("id")
	if len(id) > 64 {
		return directory.ProvisionedTeam{}, missing
	}
	page, _, err := h.c.Directory.ListTeams(c.ctx, c.provider.Name, directory.Wanted{UID: id, Count: 1})
	if err != nil {
		return directory.ProvisionedTeam{}, err
	}
	if len(page) == 0 {
		return directory.ProvisionedTeam{}, missing
	}
	if want := c.match(); c.r.Method != http.MethodGet && want != "" && want != page[0].Etag {
		return directory.ProvisionedTeam{}, &problem{status: http.StatusPreconditionFailed, detail: "The resource was changed since you read it."}
	}
	return page[0], nil
}

// putGroup makes a change and waits until this authserver has it, so that the next login or refresh goes by it (SC-3).
func (h *Handler) putGroup(c *call, change directory.TeamChange, status int, action string) error {
	if len(change.Add) > maxMembers || len(change.Remove) > maxMembers {
		return &problem{status: http.StatusRequestEntityTooLarge, detail: "A group has at most 10,000 members."}
	}
	stored, revision, err := h.c.Directory.ChangeTeam(c.ctx, c.provider.Name, change)
	if err != nil {
		return err
	}
	if revision > 0 {
		target := stored.UID
		if target == "" {
			target = change.UID
		}
		h.record(c, action, target, "")
		if err := h.c.Await(c.ctx, revision); err != nil {
			h.c.Log.WarnContext(c.ctx, "change of a group not awaited", obs.Fault(err))
		}
	}
	if status == http.StatusNoContent {
		c.w.WriteHeader(status)
		return nil
	}
	c.answer(status, h.group(stored))
	return nil
}

// groupOf reads a group.
func groupOf(body object) (change directory.TeamChange, err error) {
	if change.DisplayName, err = text("displayName", body.get("displayName")); err != nil {
		return change, err
	}
	if change.DisplayName == "" {
		return change, bad(invalidValue, "displayName is missing.")
	}
	external, err := text("externalId", body.get("externalId"))
	if err != nil {
		return change, err
	}
	change.ExternalID, change.Replace = &external, true
	change.Add, err = members(body.get("members"))
	return change, err
}

// members reads a list of members: the uids.
func members(v any) ([]string, error) {
	list, err := objects("members", v)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list))
	for _, one := range list {
		uid, ok := one.get("value").(string)
		if !ok || uid == "" || len(uid) > 64 {
			return nil, bad(invalidValue, "A member has the id of a user as its value.")
		}
		if kind, _ := one.get("type").(string); strings.EqualFold(kind, "Group") {
			return nil, bad(invalidValue, "Groups are no members of groups.")
		}
		out = append(out, uid)
	}
	return out, nil
}

// group is a group as SCIM has it (RFC 7643 §4.2).
func (h *Handler) group(t directory.ProvisionedTeam) object {
	list := make([]object, 0, len(t.Members))
	for _, uid := range t.Members {
		list = append(list, object{"value": uid, "$ref": h.base + "Users/" + uid, "type": "User"})
	}
	out := object{
		"schemas": []string{schemaGroup}, "id": t.UID, "displayName": t.DisplayName, "members": list,
		"meta": h.meta("Group", t.UID, t.Etag, t.CreateTime, t.UpdateTime),
	}
	if t.ExternalID != "" {
		out["externalId"] = t.ExternalID
	}
	return out
}
