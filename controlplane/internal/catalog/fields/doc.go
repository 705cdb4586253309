// SPDX-License-Identifier: Apache-2.0

// Package fields reads and writes resources field by field: field masks, the difference of two states, filters on
// fields, and the form that manifests have.
//
// It owns what the struct tags of package resource mean: who writes a field, whether it can change, which fields exclude
// each other. It is called by the rooms of the catalog. It must never know what a field is for.
package fields
