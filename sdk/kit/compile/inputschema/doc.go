// SPDX-License-Identifier: Apache-2.0

// Package inputschema checks the arguments of tool calls against the input schemas of tools: what nodes refuse of a run_tool
// (gateway.md G-23) and what admission refuses of fixed arguments is the same (section 3).
//
// It is called by search of the data plane and by admission of the control plane. It must never fetch what a schema names, or let a
// schema of a server keep a process busy.
package inputschema
