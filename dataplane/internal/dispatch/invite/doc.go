// SPDX-License-Identifier: Apache-2.0

// Package invite is how a person at an MCP client is asked to connect a server: the page in the form of each version
// (auth.md EL-1, EL-2), and the requestState that a modern client brings back (EL-7).
//
// dispatch uses it. It must never know who may connect what, nor how a link is made.
package invite
