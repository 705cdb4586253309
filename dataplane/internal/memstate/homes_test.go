// SPDX-License-Identifier: Apache-2.0

package memstate_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/forward/home"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
)

func TestHomes(t *testing.T) {
	statetest.Homes(t, func(*testing.T) home.Store { return memstate.NewHomes() })
}
