// SPDX-License-Identifier: Apache-2.0

// Package record is how the catalog keeps its resources: records, the revision log, and the Store that has both.
//
// It owns the contract between the domain and its stores; package catalog has the same names, for everybody outside the
// catalog. It must never know what is inside a record's body.
package record
