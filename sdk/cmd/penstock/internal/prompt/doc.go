// SPDX-License-Identifier: Apache-2.0

// Package prompt asks a person at a terminal for a password, or reads it from a pipe.
//
// It owns the terminal while it asks. Package command calls it. It must never show, keep or log what it reads.
package prompt
