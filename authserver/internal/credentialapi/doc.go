// SPDX-License-Identifier: Apache-2.0

// Package credentialapi serves penstock.credential.v1 (Connect, gRPC, gRPC-Web): control planes put and delete secrets,
// nodes resolve them, and both have connect links made.
//
// It owns who may call what, which follows from the caller's certificate and, for a node, from the directory; the check of
// messages, the translation between messages and the vault, the audit of each call, and how faults look on the wire. The
// root mounts it on a listener with mutual TLS, and in memory for processes that share the program. It must never keep or
// log a secret, and never know how one is stored.
package credentialapi
