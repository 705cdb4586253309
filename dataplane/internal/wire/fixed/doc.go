// SPDX-License-Identifier: Apache-2.0

// Package fixed is the arguments that an assignment gives to every call of its tool (gateway.md section 3, M-9): they take the place of
// what a caller sends under their names, and definitions are shown without them.
//
// follow, search and dispatch use it. It must never decide who gets which: it only splices.
package fixed
