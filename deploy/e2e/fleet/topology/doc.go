// SPDX-License-Identifier: Apache-2.0

// Package topology is the one table of what the processes of a fleet are told: three kinds of process, their settings, and
// which of them are secret. The fleet's end-to-end test starts processes by it, and deploy/compose is checked against it.
//
// It must never start anything or know where it runs: addresses and files are given to it.
package topology
