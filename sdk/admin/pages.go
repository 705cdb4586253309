// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// pages yields the elements of all pages. fetch gets one page and returns the token of the next, empty after the last. The
// caller's request, which may be nil, is copied and never changed.
func pages[Q proto.Message, T any](req Q, fetch func(Q) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		m := req.ProtoReflect().New()
		if req.ProtoReflect().IsValid() {
			proto.Merge(m.Interface(), req)
		}
		q, ok := m.Interface().(Q)
		if !ok {
			return // New gives what it was called on
		}
		token := m.Descriptor().Fields().ByName("page_token")
		for {
			items, next, err := fetch(q)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			m.Set(token, protoreflect.ValueOfString(next))
		}
	}
}
