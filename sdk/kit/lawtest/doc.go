// SPDX-License-Identifier: Apache-2.0

// Package lawtest is the dependency law of the house as a test: who may import whom, one home per library, names.
//
// It owns the table of the law (law.go) and its check. The architecture_test.go in the root of each module calls [Check] with
// the module's name; nothing else imports this package, and no program does. It must never know what a room does, only
// which rooms it may see.
//
// The table is the seam for architecture changes: a new room that others may import, or a new arrow between rooms, is one
// line in law.go, reviewed as the design change it is. The linter's depguard rules say the coarse half of the same law
// in the editor; where both speak, this table is the authority.
package lawtest
