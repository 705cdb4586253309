// SPDX-License-Identifier: Apache-2.0

// Package pgserver runs a real PostgreSQL that may be broken on purpose: for tests, and for programs that prove that
// nothing is lost when it breaks.
//
// It owns the server process and its data directory. It is called by pgtest and by the command commitstorm. It must never
// be linked into a server, nor hold data that somebody needs: it does not wait for the disk (fsync is off).
package pgserver
