// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"cmp"
	"slices"
	"strings"
)

// Normalize brings input into the one form in which equal resources are equal: e-mail addresses in lower case, sets
// sorted, the zero values of enums left out, and defaults that readers should see filled in. It changes o.
func Normalize(o Object) {
	switch o := o.(type) {
	case *Server:
		if o.Visibility == nil {
			o.Visibility = &Visibility{Organization: &struct{}{}} // a registry entry is for the organisation unless it says otherwise
		}
		o.Visibility.normalize()
		unspecified(&o.Affinity, "AFFINITY_UNSPECIFIED")
		unspecified(&o.ToolChanges, "TOOL_CHANGES_UNSPECIFIED")
	case *Connection:
		o.Owner.normalize()
	case *Gateway:
		o.Visibility.normalize()
		if o.Naming != nil {
			unspecified(&o.Naming.Prefix, "NAMING_PREFIX_UNSPECIFIED")
			if o.Naming.Prefix == "" {
				o.Naming = nil
			}
		}
		slices.Sort(o.Regions)
		for i := range o.Tools {
			o.Tools[i].Gateway, o.Tools[i].ResolvedName = "", ""
		}
		slices.SortStableFunc(o.Tools, func(a, b ToolAssignment) int { return cmp.Compare(a.Tool, b.Tool) })
	case *Team:
		for i := range o.Members {
			o.Members[i].User = lower(o.Members[i].User)
			unspecified(&o.Members[i].Role, "ROLE_UNSPECIFIED")
		}
		slices.SortStableFunc(o.Members, func(a, b TeamMember) int { return cmp.Compare(a.User, b.User) })
	case *User:
		o.Name = lower(o.Name)
		unspecified(&o.Role, "ROLE_UNSPECIFIED")
		if o.Role == "" {
			o.Role = RoleMember
		}
	case *BearerToken:
		o.Owner.normalize()
		slices.Sort(o.Gateways)
	}
}

// NormalizeName brings the name of a resource of a kind into its one form.
func NormalizeName(k Kind, name string) string {
	if k == KindUser {
		return lower(name)
	}
	return name
}

func (v *Visibility) normalize() {
	if v == nil {
		return
	}
	if v.Personal != nil {
		v.Personal.Owner = lower(v.Personal.Owner)
	}
	if v.Team != nil {
		slices.Sort(v.Team.Teams)
	}
}

func (o *Owner) normalize() {
	if o != nil {
		o.User = lower(o.User)
	}
}

func unspecified[T ~string](v *T, zero T) {
	if *v == zero {
		*v = ""
	}
}

func lower(email string) string { return strings.ToLower(strings.TrimSpace(email)) }
