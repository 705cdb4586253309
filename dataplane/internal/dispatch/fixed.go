// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/fixed"
)

// withFixed gives a call of a tool the arguments that its assignment fixes, in place of the caller's. It is the first that happens to a
// call whose tool is known: whatever looks at its arguments from here on sees what the server will get (gateway.md section 3).
func withFixed(k *call.Call, t *target) error {
	if t.tool == nil || len(t.tool.Fixed) == 0 {
		return nil
	}
	body, err := fixed.Request(k.Body, k.Message, t.tool)
	if err != nil {
		return err //nolint:wrapcheck // a fault with the answer
	}
	m := new(wire.Message)
	if err := wire.Scan(body, m); err != nil {
		return err //nolint:wrapcheck // a fault with the answer
	}
	k.Body, k.Message, k.Params, t.at = body, m, m.Params.Of(body), m.P.Name.Span
	return nil
}
