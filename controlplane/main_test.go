// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgtest"
)

func TestMain(m *testing.M) { os.Exit(leakFree(pgtest.Main(m))) }

// leakFree fails a run after which goroutines are left.
func leakFree(code int) int {
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
