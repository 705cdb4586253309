// SPDX-License-Identifier: Apache-2.0

// Package statetest is what every implementation of shared state must do: memstate and redisstate run its suites.
//
// It must never be linked into a server.
package statetest
