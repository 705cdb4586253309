// SPDX-License-Identifier: Apache-2.0

// Package gate compares what the conformance suite says of a server with what it says of the same server behind a gateway,
// and judges the differences.
//
// The program deploy/conformance calls it. It must never run anything: what it knows is lists of checks and of exceptions.
package gate
