// SPDX-License-Identifier: Apache-2.0

// Package child starts a program without a shell, with exactly the environment it is given, in a process group of its own,
// and ends it with everything it started (M-94).
//
// It owns the pipes, the signals, the order of ending (input closed, SIGTERM, SIGKILL), and what is kept of standard error.
// It starts no goroutines: the owner of a process runs the functions that wait. A descendant that makes itself a session
// of its own leaves the group and is out of reach.
//
// Called by stdio. It must never know what is said over the pipes.
package child
