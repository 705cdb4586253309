// SPDX-License-Identifier: Apache-2.0

// Package catalog reads the lists of a server, page by page (mcp.md M-70).
//
// Called by upstream. It must never know how requests are sent.
package catalog

import (
	"bytes"
	"context"
	"errors"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

const (
	// maxPages bounds a list that an upstream cuts into pages.
	maxPages = 100
	// maxBytes bounds one list.
	maxBytes = 64 << 20
)

// ErrTooLarge: one list has more than 64 MiB.
var ErrTooLarge = errors.New("list too large")

// Ask sends a list request and returns the raw result object. params is nil for
// the first page.
type Ask func(ctx context.Context, method string, params []byte) (result []byte, err error)

// Read returns the members of a list, raw JSON objects, byte for byte, in the
// server's order. method asks for it, member names it in the result. At most 100
// pages are read, and a cursor that comes again ends the list. Errors are those
// of ask, [ErrTooLarge], and *exchange.Garbage.
func Read(ctx context.Context, ask Ask, method, member string) ([][]byte, error) {
	list := [][]byte{}
	var cursor, params []byte
	size := 0
	seen := make(map[string]bool)
	for range maxPages {
		if cursor != nil {
			params = append(append([]byte(`{"cursor":`), cursor...), '}')
		}
		result, err := ask(ctx, method, params)
		if err != nil {
			return nil, err
		}
		if list, cursor, err = page(list, result, member); err != nil {
			return nil, err
		}
		if size += len(result); size > maxBytes {
			return nil, ErrTooLarge
		}
		if cursor == nil || seen[string(cursor)] {
			break
		}
		seen[string(cursor)] = true
	}
	return list, nil
}

// page appends the members of one page to list and returns the raw cursor of the
// next, nil at the end.
func page(list [][]byte, result []byte, member string) ([][]byte, []byte, error) {
	fields, err := wire.Fields(nil, result)
	if err != nil {
		return nil, nil, &exchange.Garbage{What: "its list of " + member + " is broken", Cause: err}
	}
	raw := wire.Lookup(fields, member).Of(result)
	spans, err := wire.Elements(nil, raw)
	if err != nil {
		return nil, nil, &exchange.Garbage{What: "its list of " + member + " is no array", Cause: err}
	}
	for _, s := range spans {
		one := s.Of(raw)
		if !wire.IsObject(one) {
			return nil, nil, &exchange.Garbage{What: "one of its " + member + " is no object"}
		}
		list = append(list, bytes.Clone(one))
	}
	next := wire.Lookup(fields, "nextCursor").Of(result)
	if !wire.IsString(next) {
		next = nil // absent or null
	}
	return list, next, nil
}
