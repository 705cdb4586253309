// SPDX-License-Identifier: Apache-2.0

// Package discovery stores which tools a server has: what is new, changed or gone, and what an administrator accepts
// (gateway.md G-16). The servers themselves are asked by nodes.
//
// It owns the states of tools. It is called by catalog. It must never decode a schema: definitions are bytes.
package discovery
