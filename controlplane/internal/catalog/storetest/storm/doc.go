// SPDX-License-Identifier: Apache-2.0

// Package storm commits to a store from many sides while everything breaks, and proves from outside that the log has every
// commit once, in order, as it was acknowledged (distribution.md, section 12).
//
// It owns what was attempted and what was seen. It is called by tests and by the command commitstorm. It must never look at
// a store but through catalog.Store: what it finds is what the feed would find.
package storm
