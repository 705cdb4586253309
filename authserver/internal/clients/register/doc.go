// SPDX-License-Identifier: Apache-2.0

// Package register is the registration endpoint, with which clients register themselves (RFC 7591, REG-1 to REG-13).
//
// The root mounts its handler. It must never know what a client is used for afterwards.
package register
