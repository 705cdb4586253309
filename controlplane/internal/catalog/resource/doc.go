// SPDX-License-Identifier: Apache-2.0

// Package resource is the data of the domain: the resources of an organisation as plain structs, their JSON form, and
// the rules that one resource obeys by itself.
//
// It owns field names, enum values, limits, syntax (slugs, URLs, header names), defaults, field masks and the
// difference of two states. It is called by catalog, which knows how resources depend on each other, and through
// catalog's aliases by adminapi and feed. It must never know of a store, of another resource than the one it looks at,
// or of the protobuf messages, whose JSON form it shares: protojson with proto names.
package resource
