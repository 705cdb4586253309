// SPDX-License-Identifier: Apache-2.0

// Package policy decides tool calls: it gathers what the policies of a gateway look at and has them evaluated (gateway.md §5).
//
// It is called by dispatch. It must never do I/O, read a clock or count anything: the same input has the same decision.
package policy
