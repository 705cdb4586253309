// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// makeFixed reads the arguments that every call of an assignment gets. One that is no JSON is Invalid, BAD_FIXED_ARGUMENT: without it
// a call would run with what its caller likes.
func makeFixed(s *structpb.Struct) ([]FixedArgument, error) {
	fields := s.GetFields()
	out := make([]FixedArgument, 0, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if !isJSON(fields[name]) || e.Encode(fields[name].AsInterface()) != nil {
			return nil, fault.Newf(fault.Invalid, "BAD_FIXED_ARGUMENT", "the fixed argument %q is no JSON value", name)
		}
		out = append(out, FixedArgument{Name: name, Value: bytes.TrimSuffix(b.Bytes(), []byte("\n"))})
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// isJSON reports whether a value is one of JSON: AsInterface makes a text of an infinite number and null of nothing.
func isJSON(v *structpb.Value) bool {
	switch k := v.GetKind().(type) {
	case nil:
		return false
	case *structpb.Value_NumberValue:
		return !math.IsNaN(k.NumberValue) && !math.IsInf(k.NumberValue, 0)
	case *structpb.Value_ListValue:
		return !slices.ContainsFunc(k.ListValue.GetValues(), func(one *structpb.Value) bool { return !isJSON(one) })
	case *structpb.Value_StructValue:
		for _, one := range k.StructValue.GetFields() {
			if !isJSON(one) {
				return false
			}
		}
	}
	return true
}
