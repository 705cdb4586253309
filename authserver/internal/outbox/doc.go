// SPDX-License-Identifier: Apache-2.0

// Package outbox hands revocations on to the control plane, which spreads them over the nodes (D-32): at least once, in
// order, and as soon as it can be reached again after it could not.
//
// The root runs it. It must never know why something was revoked.
package outbox
