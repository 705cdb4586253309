// SPDX-License-Identifier: Apache-2.0

package search

import (
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire/fixed"
	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

// fit checks the arguments that the server of a call would get against the tool's input schema (G-23): those of the caller, and those
// that every call gets.
func (s *Search) fit(t *view.Tool, arguments []byte) []inputschema.Problem {
	schema := t.Schema()
	if schema == nil {
		return nil
	}
	arguments, err := fixed.In(arguments, t)
	if err != nil {
		return []inputschema.Problem{{Path: "$", Text: "it is not JSON"}} // not reached: the request was scanned
	}
	if arguments == nil {
		arguments = []byte(`{}`)
	}
	return schema.Check(arguments)
}
