// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/plant"
)

// binVariable tells the tests where the binaries are; set from outside, nothing is built.
const binVariable = "E2E_FLEET_BIN"

// TestMain builds the servers once.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) (code int) {
	if os.Getenv(binVariable) == "" {
		dir, err := os.MkdirTemp("", "penstock-fleet-bin-")
		if err == nil {
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			err = errors.Join(plant.Build(dir), os.Setenv(binVariable, dir))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code = m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
