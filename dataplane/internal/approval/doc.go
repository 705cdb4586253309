// SPDX-License-Identifier: Apache-2.0

// Package approval asks the control plane about tool calls that a policy holds: whether one may run now, and when its approvers have
// decided (G-34). Without a control plane no held call runs: who asks gets a fault.
//
// dispatch calls it, over an interface of its own; the root gives it the connection. It must never know policies, clients or how a person
// is asked, and it keeps no approval: that one runs once is the control plane's word alone.
package approval
