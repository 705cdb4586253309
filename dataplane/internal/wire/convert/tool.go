// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Tool adds to e the edits that make raw, one tool object of a tools/list
// result, fit for a client of version to: for legacy versions an outputSchema
// whose root is not "type":"object" is removed, and execution wherever tasks
// are not offered. raw must be a JSON object without duplicate keys; anything
// else is a fault of Kind Invalid.
func Tool(e *wire.Edits, raw []byte, to wire.Version, tasks bool) error {
	var room [16]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return fmt.Errorf("read tool: %w", err)
	}
	if !tasks {
		e.Delete(wire.Lookup(fields, "execution"))
	}
	schema := wire.Lookup(fields, "outputSchema")
	if to.Era() == wire.Modern || !schema.Present() {
		return nil
	}
	if !isObjectSchema(schema.Of(raw)) {
		e.Delete(schema)
	}
	return nil
}

// isObjectSchema reports whether the root of a schema says "type":"object". A
// schema that is no object, or has a key twice, says no such thing.
func isObjectSchema(schema []byte) bool {
	var room [16]wire.Field
	fields, err := wire.Fields(room[:0], schema)
	if err != nil {
		return false
	}
	return wire.EqualString(wire.Lookup(fields, "type").Of(schema), "object")
}
