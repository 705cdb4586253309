// SPDX-License-Identifier: Apache-2.0

// Package desk is what one command of the catalog works at: a state of the store, decoded, and the caller.
//
// It owns how records become resources and back, what the caller sees, and the caller's standing. It is called by the
// rooms of the catalog. It must never decide what is allowed: package access does.
package desk
