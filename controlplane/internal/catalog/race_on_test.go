// SPDX-License-Identifier: Apache-2.0

//go:build race

package catalog_test

// largeApply is how many gateways one apply has; fewer with the race detector, which makes everything ten times slower.
const largeApply = 600
