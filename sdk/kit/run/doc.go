// SPDX-License-Identifier: Apache-2.0

// Package run owns the life of a process: tasks that run together and stop
// together, listeners, HTTP servers that finish their calls before they stop,
// the memory that garbage may take, and the ordered closing of what is left.
//
// Roots and rooms with more than one goroutine call it; it is the one place
// that starts goroutines for them. It must never know what a task does, and
// it never exits the process.
package run
