// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	// testVersion is what the linker writes into the binaries.
	testVersion = "1.2.3-test"
	// binVariable tells the tests where the binaries are.
	binVariable = "E2E_PROCESS_BIN"
)

// TestMain builds the five binaries once, into a folder that every user may read: some are started as somebody else.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "penstock-bin-")
	if err == nil {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		err = errors.Join(os.Chmod(dir, 0o755), build(dir), os.Setenv(binVariable, dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) error {
	const ours = "github.com/penstockhq/penstock/"
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+testVersion, "-o", dir+"/",
		ours+"controlplane/cmd/controlplane", ours+"dataplane/cmd/dataplane", ours+"authserver/cmd/authserver",
		ours+"deploy/standalone/cmd/penstock-standalone", ours+"sdk/cmd/penstock")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}

// binary returns the path of one of the five.
func binary(name string) string { return filepath.Join(os.Getenv(binVariable), name) }
