// SPDX-License-Identifier: Apache-2.0

// Package reqctx is what is known of an HTTP request before anybody is authenticated: its identifier, which people are
// shown in error pages and auditors find in events (AU-6), the address it came from (RL-4), and its user agent.
//
// router makes it, every handler reads it. It must never know who is logged in.
package reqctx
