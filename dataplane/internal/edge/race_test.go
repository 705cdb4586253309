// SPDX-License-Identifier: Apache-2.0

//go:build race

package edge_test

// raceBuild says that the race detector is on.
const raceBuild = true
