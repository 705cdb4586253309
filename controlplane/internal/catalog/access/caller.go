// SPDX-License-Identifier: Apache-2.0

package access

import "github.com/penstockhq/penstock/controlplane/internal/catalog/resource"

// Caller is an authenticated administrator. The zero value may do nothing.
type Caller struct {
	UserUID   string
	Email     string
	Role      resource.Role
	TokenName string
	System    bool // the control plane itself: may do everything
}

// Actor is the principal key that the revision log keeps; an e-mail address never enters it.
func (c Caller) Actor() string {
	if c.System {
		return "system"
	}
	return "user:" + c.UserUID
}
