// SPDX-License-Identifier: Apache-2.0

package scim

import (
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

// maxOperations bounds a PATCH.
const maxOperations = 10_000

// operation is one of a PATCH (RFC 7644 §3.5.2). An operation without a path is taken apart into one for each attribute of its
// value.
type operation struct {
	op    string // add, replace or remove
	attr  string // lower case
	rest  string // after the attribute: "[value eq \"x\"]", ".givenName"
	value any
	whole bool // the attribute was a key of a value, where what cannot be changed may stand
}

// operations reads a PATCH: op in any case, as Entra sends it.
func operations(body object) ([]operation, error) {
	list, err := objects("Operations", body.get("Operations"))
	if err != nil || len(list) == 0 || len(list) > maxOperations {
		return nil, bad(invalidSyntax, "Operations must be a list of 1 to 10,000 operations.")
	}
	var out []operation
	for _, o := range list {
		name, _ := o.get("op").(string)
		op := strings.ToLower(name)
		if !slices.Contains([]string{"add", "replace", "remove"}, op) {
			return nil, bad(invalidSyntax, "op must be add, replace or remove.")
		}
		path, err := text("path", o.get("path"))
		if err != nil {
			return nil, err
		}
		value := o.get("value")
		if path != "" {
			attr, rest, ok := attribute(path)
			if !ok {
				return nil, bad(invalidPath, "The path cannot be read.")
			}
			out = append(out, operation{op: op, attr: attr, rest: rest, value: value})
			continue
		}
		if op == "remove" {
			return nil, bad(noTarget, "remove needs a path.")
		}
		attributes, ok := value.(map[string]any)
		if !ok {
			return nil, bad(invalidValue, "Without a path, value must be an object.")
		}
		for key, one := range attributes {
			attr, rest, ok := attribute(key)
			if !ok {
				return nil, bad(invalidPath, "An attribute of the value cannot be read.")
			}
			out = append(out, operation{op: op, attr: attr, rest: rest, value: one, whole: true})
		}
	}
	return out, nil
}

// readOnly refuses what nobody may change. In a value without a path it may stand: some providers send what they were sent.
func (o operation) readOnly() error {
	if o.attr == "id" && !o.whole {
		return bad(mutability, "id cannot be changed.")
	}
	return nil
}

// onUser changes a user. Attributes that are not kept, such as those of an address, are left alone: providers send many, and
// would stop at an error.
func (o operation) onUser(u *directory.Provisioned) (err error) {
	if o.op == "remove" {
		o.value = nil
		if o.attr == "username" || o.attr == "active" {
			return bad(invalidValue, "userName and active cannot be removed.")
		}
	}
	if o.rest != "" {
		return o.readOnly() // part of an attribute: of these none is kept
	}
	switch o.attr {
	case "username":
		u.UserName, err = text("userName", o.value)
	case "externalid":
		u.ExternalID, err = text("externalId", o.value)
	case "displayname":
		u.DisplayName, err = text("displayName", o.value)
	case "active":
		u.Active, err = truth("active", o.value)
	default:
		err = o.readOnly()
	}
	return err
}

// membership gathers the operations on a group into one change, in their order.
type membership struct {
	change  directory.TeamChange
	add     []string
	in, out map[string]bool
}

func newMembership() *membership {
	return &membership{in: make(map[string]bool), out: make(map[string]bool)}
}

func (m *membership) join(uids []string) {
	for _, uid := range uids {
		if !m.in[uid] {
			m.in[uid] = true
			m.add = append(m.add, uid)
		}
		delete(m.out, uid)
	}
}

func (m *membership) leave(uids []string) {
	for _, uid := range uids {
		if m.in[uid] {
			delete(m.in, uid)
			m.add = slices.DeleteFunc(m.add, func(one string) bool { return one == uid })
		}
		m.out[uid] = true
	}
}

func (m *membership) clear() {
	m.change.Replace = true
	m.add, m.in, m.out = nil, make(map[string]bool), make(map[string]bool)
}

// done returns the change.
func (m *membership) done() directory.TeamChange {
	m.change.Add = m.add
	for uid := range m.out {
		m.change.Remove = append(m.change.Remove, uid)
	}
	slices.Sort(m.change.Remove)
	return m.change
}

// onGroup adds an operation to the change of a group.
func (o operation) onGroup(m *membership) error {
	switch o.attr {
	case "members":
		return o.onMembers(m)
	case "displayname":
		name, err := text("displayName", o.value)
		if err == nil && (name == "" || o.op == "remove") {
			err = bad(invalidValue, "displayName cannot be removed.")
		}
		m.change.DisplayName = name
		return err
	case "externalid":
		external, err := text("externalId", o.value)
		if o.op == "remove" {
			external, err = "", nil
		}
		m.change.ExternalID = &external
		return err
	default:
		return o.readOnly()
	}
}

func (o operation) onMembers(m *membership) error {
	if o.rest != "" {
		uid, ok := memberOf(o.rest)
		if !ok || o.op != "remove" {
			return bad(invalidPath, `Of single members there is: remove members[value eq "id"].`)
		}
		m.leave([]string{uid})
		return nil
	}
	list, err := members(o.value)
	if err != nil {
		return err
	}
	switch {
	case o.op == "add":
		m.join(list)
	case o.op == "replace":
		m.clear()
		m.join(list)
	case o.value == nil: // all of them
		m.clear()
	default: // Entra names them in the value
		m.leave(list)
	}
	return nil
}

// memberOf reads the filter of one member: [value eq "id"].
func memberOf(rest string) (uid string, ok bool) {
	inside, ok := strings.CutPrefix(rest, "[")
	if !ok {
		return "", false
	}
	if inside, ok = strings.CutSuffix(inside, "]"); !ok {
		return "", false
	}
	attr, uid, ok := equal(inside)
	return uid, ok && attr == "value" && uid != "" && len(uid) <= 64
}
