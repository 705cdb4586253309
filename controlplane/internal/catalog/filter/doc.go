// SPDX-License-Identifier: Apache-2.0

// Package filter reads the filters of list requests and their page tokens.
//
// It owns the grammar — conditions joined by AND, each
//
//	field = "value"    field != "value"    field : "part"
//
// on name, display_name, labels.<key> and the string fields of a resource, nested ones with dots — and the form of page
// tokens. It is called by catalog. It must never know which fields a resource has: it is told.
package filter
