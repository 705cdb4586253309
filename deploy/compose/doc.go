// SPDX-License-Identifier: Apache-2.0

// Package compose checks compose.yaml: it is what the fleet's end-to-end test starts as processes, with the same settings from
// one table (deploy/e2e/fleet/topology), and each command line is read by the server that it is for.
//
// It owns a test and the files beside it, and nothing calls it. No image is built or pulled here.
package compose
