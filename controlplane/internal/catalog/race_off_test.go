// SPDX-License-Identifier: Apache-2.0

//go:build !race

package catalog_test

// largeApply is how many gateways one apply has.
const largeApply = 6_000
