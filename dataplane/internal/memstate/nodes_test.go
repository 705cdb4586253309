// SPDX-License-Identifier: Apache-2.0

package memstate_test

import (
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/forward"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/statetest"
)

func TestNodes(t *testing.T) {
	statetest.Nodes(t, func(*testing.T) forward.Store { return memstate.NewNodes() })
}
