// SPDX-License-Identifier: Apache-2.0

// Package breaker keeps calls away from an upstream that does not take any (gateway.md G-51): after several failures in a
// row its circuit is open and calls fail at once; after a pause one of them is let through as a trial, and its outcome
// closes the circuit or begins the pause anew.
//
// A circuit that is closed costs a call two atomic loads: the state machine behind it, with its lock, is asked only while
// something is wrong.
//
// Called by upstream, which says what counts as a failure. It must never know targets, faults or how anything is sent.
package breaker
