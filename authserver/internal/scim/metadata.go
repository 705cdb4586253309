// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"net/http"
	"strings"
)

// noFilter refuses a filter where there is nothing to choose from (RFC 7644 §4).
func (c *call) noFilter() error {
	if c.r.URL.Query().Has("filter") {
		return &problem{status: http.StatusForbidden, detail: "There are no filters here."}
	}
	return nil
}

// serviceProviderConfig is RFC 7643 §5.
func (h *Handler) serviceProviderConfig(c *call) error {
	if err := c.noFilter(); err != nil {
		return err
	}
	off := object{"supported": false}
	c.answer(http.StatusOK, object{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   object{"supported": true}, "bulk": object{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": object{"supported": true, "maxResults": maxCount}, "changePassword": off, "sort": off, "etag": object{"supported": true},
		"authenticationSchemes": []object{{
			"type": "oauthbearertoken", "name": "SCIM token", "primary": true,
			"description": "A token of the form psm_…, which an administrator makes for the identity provider.",
		}},
		"meta": object{"resourceType": "ServiceProviderConfig", "location": h.base + "ServiceProviderConfig"},
	})
	return nil
}

// resourceTypes is RFC 7643 §6: all of them, or one.
func (h *Handler) resourceTypes(c *call) error {
	var all []object
	for _, one := range []struct{ name, schema string }{{"User", schemaUser}, {"Group", schemaGroup}} {
		all = append(all, object{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": one.name, "name": one.name,
			"endpoint": "/" + one.name + "s", "schema": one.schema,
			"meta": object{"resourceType": "ResourceType", "location": h.base + "ResourceTypes/" + one.name},
		})
	}
	return h.described(c, all)
}

// schemas is RFC 7643 §7: all of them, or one. They have what is kept; anything else is taken and forgotten.
func (h *Handler) schemas(c *call) error {
	attr := func(name, kind, mutable, unique string, required bool) object {
		return object{
			"name": name, "type": kind, "multiValued": false, "required": required, "caseExact": name == "externalId",
			"mutability": mutable, "returned": "default", "uniqueness": unique,
		}
	}
	many := func(name string, subs ...object) object {
		return object{
			"name": name, "type": "complex", "multiValued": true, "required": false, "mutability": "readWrite", "returned": "default",
			"subAttributes": subs,
		}
	}
	const rw, ro, none = "readWrite", "immutable", "none"
	user := []object{
		attr("userName", "string", rw, "server", true), attr("externalId", "string", rw, "server", false),
		attr("displayName", "string", rw, none, false), attr("active", "boolean", rw, none, false),
		many("emails", attr("value", "string", ro, none, false), attr("type", "string", ro, none, false), attr("primary", "boolean", ro, none, false)),
	}
	group := []object{
		attr("displayName", "string", rw, "server", true), attr("externalId", "string", rw, "server", false),
		many("members", attr("value", "string", ro, none, false), attr("$ref", "reference", ro, none, false), attr("type", "string", ro, none, false)),
	}
	var all []object
	for _, one := range []struct {
		id, name string
		list     []object
	}{{schemaUser, "User", user}, {schemaGroup, "Group", group}} {
		all = append(all, object{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": one.id, "name": one.name, "attributes": one.list,
			"meta": object{"resourceType": "Schema", "location": h.base + "Schemas/" + one.id},
		})
	}
	return h.described(c, all)
}

// described answers with one of a few descriptions, or with all.
func (h *Handler) described(c *call, all []object) error {
	if err := c.noFilter(); err != nil {
		return err
	}
	id := c.r.PathValue("id")
	if id == "" {
		c.list(all, len(all), 1)
		return nil
	}
	for _, one := range all {
		if name, _ := one["id"].(string); strings.EqualFold(name, id) {
			c.answer(http.StatusOK, one)
			return nil
		}
	}
	return &problem{status: http.StatusNotFound, detail: "There is no such description."}
}
