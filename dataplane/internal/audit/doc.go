// SPDX-License-Identifier: Apache-2.0

// Package audit keeps what happened to tool calls until the control plane has it (G-60).
//
// dispatch hands in an event per call, and the root runs the tasks. [Recorder] takes events in memory and never waits: a task writes
// them to the queue some milliseconds later, another has the disk keep them, a third hands them to the control plane. The queue is
// files in the data folder; what the control plane has is removed from it. The same events can go to a file of JSON lines.
//
// It holds no arguments, no results and no credentials, because events have none. It must never know what a policy, a limit or a
// server is, or by which protocol events reach the control plane.
package audit
