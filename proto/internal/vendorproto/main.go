// SPDX-License-Identifier: Apache-2.0

// Command vendorproto writes buf/validate/validate.proto from the descriptor inside the protovalidate Go module, so that
// building the contracts needs no schema registry.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	validatepb "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/desc" //nolint:staticcheck // what the printer takes
	"github.com/jhump/protoreflect/desc/protoprint"
)

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "vendorproto:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	file, err := desc.WrapFile(validatepb.File_buf_validate_validate_proto)
	if err != nil {
		return fmt.Errorf("read descriptor: %w", err)
	}
	text, err := (&protoprint.Printer{Compact: true}).PrintProtoToString(file)
	if err != nil {
		return fmt.Errorf("print descriptor: %w", err)
	}
	path := filepath.Join(dir, filepath.FromSlash(file.GetName()))
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil { //nolint:gosec // the folder that the Makefile names
		return fmt.Errorf("make directory: %w", err)
	}
	return os.WriteFile(path, []byte(text), 0o600) //nolint:gosec // as above
}
