// SPDX-License-Identifier: Apache-2.0

// Package limit is how often somebody may ask: token buckets per address and per client (auth.md RL-1), failed client
// authentication (RL-2), and the growing delay of wrong passwords (RL-3).
//
// router, tokens and login ask it. It counts in a store that all authservers share, one round trip for a request, or in this
// process where there is none or while it cannot be reached. It must never know HTTP, or why somebody asks, and its keys in the
// store are digests.
package limit
