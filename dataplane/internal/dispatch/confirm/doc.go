// SPDX-License-Identifier: Apache-2.0

// Package confirm is how a person at an MCP client is asked about a call that a policy holds, whether it may run or whether to wait for
// who approves it (G-34): the question, what it shows of the arguments, the requestState that a modern client brings back, and which of
// the states that are good for one retry have been used.
//
// dispatch uses it. It must never know policies, who approves what, nor the control plane.
package confirm
