// SPDX-License-Identifier: Apache-2.0

// Package balance says how nodes are spread over control planes: where the next one goes, and how many are too many.
//
// It is pure, and called by replicas. It must never know what a control plane is.
package balance
