// SPDX-License-Identifier: Apache-2.0

// Package subject starts, watches and stops what is measured: our own servers as processes of their own, and strangers as a file describes
// them. It reads what a process tree has used.
//
// The benchmark uses it. It must never know what is sent to a system, nor what the figures are.
package subject
