// SPDX-License-Identifier: Apache-2.0

// Package command is the penstock command line: its grammar, and one method per command that calls the admin API and writes
// what came of it.
//
// It owns the words of the command line, what goes to standard output (results, and nothing else) and standard error (notes and
// errors), and the exit codes. main calls it. It reaches a control plane through sdk/admin only, as any outside program would,
// and must never know how a server does what it is asked.
package command
