// SPDX-License-Identifier: Apache-2.0

// Package redisx owns the connection of a process to its Redis: what an operator sets ([Settings]), short time-outs, and a
// breaker for each server, so that a Redis that is away costs a process one time-out a second and no caller more than that.
//
// The composition roots of the data plane and the authserver call [Open] and hand the [Client] to the rooms that keep state.
// It works with one Redis 7.0 or Valkey and with Redis Cluster. It must never know a key or a script: those are the rooms'.
package redisx
