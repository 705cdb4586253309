// SPDX-License-Identifier: Apache-2.0

// Package explain says what would become of a tool call that nobody makes (gateway.md G-36): by the node's own view, with the code that
// calls go through.
//
// It owns the order of the steps before dispatch, and the words of penstock.resource.v1.Explanation. It is called for a task of the
// control plane. It decides nothing itself: edge, authn, limit and dispatch are asked through interfaces that the root fills. It must
// never reach a server, count anything, or keep or log an argument.
package explain
