// SPDX-License-Identifier: Apache-2.0

// Package introspect is the introspection endpoint (RFC 7662, TK-22). Only nodes may ask, about tokens of gateways in their
// scope (KM-7); the public listener has the same handler with nobody who may.
//
// The root mounts it twice. It must never know how a node proves who it is.
package introspect
