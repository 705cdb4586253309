// SPDX-License-Identifier: Apache-2.0

// Package memstate owns the state that nodes share, for nodes in one process: what redisstate does, in memory, under the
// same suite (statetest). It is the default of a node alone, which has nobody to share with.
//
// The root makes it and fills in what session and upstream declare. It must never know what the bytes mean that it holds.
package memstate
