// SPDX-License-Identifier: Apache-2.0

// Package pattern compiles the regular expressions by which result policies take text out of results (G-33), and says what is wrong
// with one.
//
// Admission and the compiler of policies use it. It must never know what a result looks like.
package pattern
