// SPDX-License-Identifier: Apache-2.0

// Package pack compresses messages and bodies of the node stream (D-10) with a dictionary that both ends have: most are so
// small that they have little to repeat. A control plane packs once for all nodes of a scope class.
//
// Called by the control plane's feed and by sdk/node. It must never know what a message means.
package pack
