// SPDX-License-Identifier: Apache-2.0

// Package tasks follows the tasks of an upstream for a client that knows none, or none of that form (mcp.md section 4,
// the row "Tasks"): it polls, puts questions to the client, reports the task's status as progress, and ends with the
// result of the call, so that the client sees one long call. Tasks of 2025-11-25 and those of the extension
// io.modelcontextprotocol/tasks differ in all but the idea.
//
// bridge uses it. It must never know eras of clients or how an upstream is reached.
package tasks
