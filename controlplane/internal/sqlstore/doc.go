// SPDX-License-Identifier: Apache-2.0

// Package sqlstore is catalog.Store on PostgreSQL and on SQLite, from one SQL text.
//
// It owns the schema, its migrations and the revision log: commit order equals revision order and there are no gaps
// (distribution.md, D-1 to D-8). The composition root opens it and runs its maintenance; everybody else sees
// catalog.Store. It must never know what is inside a body.
//
// A write runs in two phases on PostgreSQL. First the transaction's function works on one REPEATABLE READ snapshot and
// its writes stay in memory. Then one short READ COMMITTED transaction locks, in (kind, name) order, the rows that were
// written (FOR UPDATE) and relied upon (FOR SHARE), makes sure that they and the ranges that were listed are still what
// was read, writes, takes the advisory lock, and gets its revision. If something was changed meanwhile, the function
// runs again, a few times. On SQLite there is one writer and BEGIN IMMEDIATE, so the first phase is the second.
package sqlstore
