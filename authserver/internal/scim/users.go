// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// listUsers is RFC 7644 §3.4.2.
func (h *Handler) listUsers(c *call) error {
	w, start, none, err := c.wanted("userName")
	if err != nil {
		return err
	}
	var page []directory.Provisioned
	total := 0
	if !none {
		if page, total, err = h.c.Directory.ListUsers(c.ctx, c.provider.Name, w); err != nil {
			return err
		}
	}
	out := make([]object, 0, len(page))
	for _, u := range page {
		out = append(out, h.user(u))
	}
	c.list(out, total, start)
	return nil
}

// createUser is RFC 7644 §3.3. A user whom the provider deleted before comes back.
func (h *Handler) createUser(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	u := directory.Provisioned{Active: true}
	if err := fillUser(&u, body); err != nil {
		return err
	}
	stored, err := h.put(c, u, "user.created")
	if err != nil {
		return err
	}
	c.answer(http.StatusCreated, h.user(stored))
	return nil
}

func (h *Handler) getUser(c *call) error {
	u, err := h.find(c)
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, h.user(u))
	return nil
}

// replaceUser is RFC 7644 §3.5.1. What is left out of externalId and displayName is cleared; active stays: nobody comes back, or
// is shut out, because a request does not speak of it.
func (h *Handler) replaceUser(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	return h.change(c, func(u *directory.Provisioned) error {
		u.UserName, u.ExternalID, u.DisplayName = "", "", ""
		return fillUser(u, body)
	})
}

// patchUser is RFC 7644 §3.5.2.
func (h *Handler) patchUser(c *call) error {
	body, err := c.body()
	if err != nil {
		return err
	}
	ops, err := operations(body)
	if err != nil {
		return err
	}
	return h.change(c, func(u *directory.Provisioned) error {
		for _, op := range ops {
			if err := op.onUser(u); err != nil {
				return err
			}
		}
		return nil
	})
}

// deleteUser deactivates a user and hides it from the provider, which gets 404 for it from now on (RFC 7644 §3.6), until it
// makes it again. What the user has ends before it is hidden: a request that failed halfway can be repeated.
func (h *Handler) deleteUser(c *call) error {
	off := func(u *directory.Provisioned) error { u.Active = false; return nil }
	u, err := h.changed(c, off)
	if err != nil {
		return err
	}
	u.Deleted, u.Etag = true, ""
	if _, err := h.put(c, u, "user.deleted"); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// find returns the user that a request names.
func (h *Handler) find(c *call) (directory.Provisioned, error) {
	missing := &problem{status: http.StatusNotFound, detail: "The identity provider has no such resource."}
	id := c.r.PathValue("id")
	if len(id) > 64 {
		return directory.Provisioned{}, missing
	}
	page, _, err := h.c.Directory.ListUsers(c.ctx, c.provider.Name, directory.Wanted{UID: id, Count: 1})
	if err != nil {
		return directory.Provisioned{}, err
	}
	if len(page) == 0 {
		return directory.Provisioned{}, missing
	}
	return page[0], nil
}

// change changes a user and answers with it.
func (h *Handler) change(c *call, fn func(u *directory.Provisioned) error) error {
	stored, err := h.changed(c, fn)
	if err != nil {
		return err
	}
	c.answer(http.StatusOK, h.user(stored))
	return nil
}

// changed changes a user. A change that another one meets is made anew on what that one left, unless the request insists on the
// state that it knows.
func (h *Handler) changed(c *call, fn func(u *directory.Provisioned) error) (directory.Provisioned, error) {
	for n := 1; ; n++ {
		u, err := h.find(c)
		if err != nil {
			return directory.Provisioned{}, err
		}
		was := u.Active
		if want := c.match(); want != "" && want != u.Etag {
			return directory.Provisioned{}, &problem{status: http.StatusPreconditionFailed, detail: "The resource was changed since you read it."}
		}
		if err := fn(&u); err != nil {
			return directory.Provisioned{}, err
		}
		action := "user.updated"
		if was && !u.Active {
			action = "user.deactivated"
		}
		stored, err := h.put(c, u, action)
		if n < tries && fault.KindOf(err) == fault.Conflict {
			continue
		}
		return stored, err
	}
}

// put stores a user and ends what it has if it is not to be active (SC-2): after this authserver has heard of it, so that
// nothing new begins in between. A repetition ends it again: the first request may have failed halfway.
func (h *Handler) put(c *call, u directory.Provisioned, action string) (directory.Provisioned, error) {
	if u.UserName == "" {
		return directory.Provisioned{}, bad(invalidValue, "userName is missing.")
	}
	stored, revision, err := h.c.Directory.PutUser(c.ctx, c.provider.Name, u)
	if err != nil {
		return directory.Provisioned{}, err
	}
	if revision > 0 {
		h.record(c, action, stored.UID, "")
	}
	if u.Active {
		return stored, nil
	}
	// The provider may hang up: what it asked for is done all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), revokeTimeout)
	defer cancel()
	if revision > 0 {
		if err := h.c.Await(ctx, revision); err != nil {
			h.c.Log.WarnContext(ctx, "deactivation not awaited", obs.Fault(err))
		}
	}
	return stored, h.c.RevokeUser(ctx, stored.UID)
}

// revokeTimeout bounds the end of what a user has.
const revokeTimeout = 20 * time.Second

// fillUser reads a user.
func fillUser(u *directory.Provisioned, body object) (err error) {
	if u.UserName, err = text("userName", body.get("userName")); err != nil {
		return err
	}
	if u.ExternalID, err = text("externalId", body.get("externalId")); err != nil {
		return err
	}
	if u.DisplayName, err = displayName(body); err != nil {
		return err
	}
	if u.Email, err = email(body.get("emails")); err != nil {
		return err
	}
	if v := body.get("active"); v != nil {
		u.Active, err = truth("active", v)
	}
	return err
}

// displayName returns what people call a user.
func displayName(body object) (string, error) {
	name, err := text("displayName", body.get("displayName"))
	if name != "" || err != nil {
		return name, err
	}
	parts, ok := body.get("name").(map[string]any)
	if !ok {
		return "", nil
	}
	if name, err = text("name.formatted", object(parts).get("formatted")); name != "" || err != nil {
		return name, err
	}
	given, err := text("name.givenName", object(parts).get("givenName"))
	if err != nil {
		return "", err
	}
	family, err := text("name.familyName", object(parts).get("familyName"))
	return strings.TrimSpace(given + " " + family), err
}

// email returns the primary address, else that of work, else the first.
func email(v any) (string, error) {
	list, err := objects("emails", v)
	if err != nil {
		return "", err
	}
	best, rank := "", -1
	for _, one := range list {
		address, err := text("emails.value", one.get("value"))
		if err != nil {
			return "", err
		}
		r := 0
		if kind, _ := one.get("type").(string); strings.EqualFold(kind, "work") {
			r = 1
		}
		if primary, err := truth("emails.primary", one.get("primary")); err == nil && primary {
			r = 2
		}
		if address != "" && r > rank {
			best, rank = address, r
		}
	}
	return best, nil
}

// user is a user as SCIM has it (RFC 7643 §4.1).
func (h *Handler) user(u directory.Provisioned) object {
	out := object{
		"schemas": []string{schemaUser}, "id": u.UID, "userName": u.UserName, "active": u.Active,
		"emails": []object{{"value": u.Email, "type": "work", "primary": true}},
		"meta":   h.meta("User", u.UID, u.Etag, u.CreateTime, u.UpdateTime),
	}
	if u.ExternalID != "" {
		out["externalId"] = u.ExternalID
	}
	if u.DisplayName != "" {
		out["displayName"], out["name"] = u.DisplayName, object{"formatted": u.DisplayName}
	}
	return out
}

func (h *Handler) meta(kind, id, etag string, created, changed time.Time) object {
	return object{
		"resourceType": kind, "location": h.base + kind + "s/" + id, "version": version(etag),
		"created": created.UTC().Format(time.RFC3339Nano), "lastModified": changed.UTC().Format(time.RFC3339Nano),
	}
}
