// SPDX-License-Identifier: Apache-2.0

// Package pgtest starts a real PostgreSQL for tests: one server per test binary, one fresh database per test.
//
// It owns the server process and its data directory. It is called by the tests of rooms that need a database, with
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// and [New]. A machine without PostgreSQL fails the test and names the command that installs it. It must never be
// linked into a server.
package pgtest
