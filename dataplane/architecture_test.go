// SPDX-License-Identifier: Apache-2.0

package dataplane_test

import (
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/lawtest"
)

// TestArchitecture checks this module's imports and package names against the dependency law, whose table is in sdk/kit/lawtest.
func TestArchitecture(t *testing.T) {
	lawtest.Check(t, "dataplane")
}
