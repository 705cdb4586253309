// SPDX-License-Identifier: Apache-2.0

// Package exposed knows what clients of a gateway call the resources and tasks of the servers behind it: URIs that lead to
// one server (mcp.md M-66), and ids of tasks that belong to one principal (M-55). It writes those names over the server's
// own in results, notifications, definitions and questions, and leaves every other byte.
//
// dispatch uses it, in both directions. It must never know how a server is reached, or who else calls it.
package exposed
