// SPDX-License-Identifier: Apache-2.0

// Package dbcopy copies the tables of one SQL database into another one that has the same tables, and proves that the copy
// is equal.
//
// It owns the order of the steps: refuse a target that is not empty, copy, compare. It is called by the sqlstore rooms of
// the servers, which know drivers, tables and transactions. It must never know what a table means, nor show what is in it.
package dbcopy
