// SPDX-License-Identifier: Apache-2.0

// Package inbox tells whose a message is that comes on a session's own stream
// rather than in the answer to a request: a response and progress belong to the
// call with that id, everything else to the owner of the session. It also keeps
// the time of such a call, which stands still while the upstream waits for the
// answer to a question (mcp.md M-49).
//
// Called by upstream. It must never know HTTP, or what is done with a message.
package inbox
