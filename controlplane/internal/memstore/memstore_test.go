// SPDX-License-Identifier: Apache-2.0

package memstore_test

import (
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/storetest"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) catalog.Store { return memstore.New(nil) })
}
