// SPDX-License-Identifier: Apache-2.0

// Package pgtest starts a real PostgreSQL for the tests of this module: one server per test process, one fresh database per
// test. Only tests import it. It must never know what the tests store.
package pgtest
