// SPDX-License-Identifier: Apache-2.0

// Package fault owns the error taxonomy of Penstock: sixteen kinds, a stable
// reason in UPPER_SNAKE, and a text that may leave the process.
//
// Every room makes a [Fault] where it knows the kind of an error and wraps it
// with fmt.Errorf("…: %w", err) on the way up. One mapper per edge (admin API,
// MCP, OAuth) turns the result of [From] into an answer. The cause travels
// along for logs and errors.Is, and never onto the wire.
//
// It knows the numbers and names of Connect codes and HTTP statuses, and must
// never know a transport library, a resource of the domain, or a logger.
package fault
