// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// pkg is one package of ours, as the go command lists it.
type pkg struct {
	ImportPath   string
	Name         string
	Imports      []string // of the package itself
	TestImports  []string // of its _test.go files, both packages
	XTestImports []string
}

// path is the import path without the prefix that all packages of ours share, "controlplane/internal/feed".
func (p pkg) path() string { return short(p.ImportPath) }

// short cuts the prefix of our packages and leaves every other import path as it is.
func short(importPath string) string { return strings.TrimPrefix(importPath, ours) }

// list returns the packages of ours that the module in dir consists of or depends on, in the go command's order
// (dependencies first). It fails if a package does not load: a law that was checked on half a module says nothing.
func list(ctx context.Context, dir string) ([]pkg, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-test=false",
		"-json=ImportPath,Name,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w\n%s", dir, err, stderr.Bytes())
	}
	return decode(bytes.NewReader(out))
}

// decode reads the stream of JSON objects that `go list -json` prints and keeps ours.
func decode(r io.Reader) ([]pkg, error) {
	var pkgs []pkg
	for d := json.NewDecoder(r); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode go list: %w", err)
		}
		if strings.HasPrefix(p.ImportPath, ours) {
			pkgs = append(pkgs, p)
		}
	}
}
