// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// hash is the suffix of the i-th tool, if there is one.
func hash(tools []compile.NamedTool, i int) string {
	if i >= len(tools) {
		return ""
	}
	sum := sha256.Sum256([]byte(tools[i].Server + "/" + tools[i].Upstream))
	return hex.EncodeToString(sum[:])[:8]
}
