// SPDX-License-Identifier: Apache-2.0

// Package condition is the CEL of policies: which names a condition may use, what it costs at most, and what a missing argument
// means (gateway.md G-31, G-37).
//
// It is called by package compile, and nowhere else is CEL. It must never do I/O, read a clock or put the value of an argument into
// an error.
package condition
