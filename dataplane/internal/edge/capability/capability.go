// SPDX-License-Identifier: Apache-2.0

// Package capability reads what a client declared of itself: the raw ClientCapabilities object of initialize or of a
// modern request.
//
// edge and its rooms use it. It must never know who the client is.
package capability

import "github.com/penstockhq/penstock/dataplane/internal/wire"

// Has reports whether the object declares what the path leads to, for example "elicitation", "url". Values other than
// objects declare nothing.
func Has(declared []byte, path ...string) bool { return wire.IsObject(wire.Get(declared, path...)) }

// Extension reports whether an extension is declared (M-60).
func Extension(declared []byte, name string) bool { return Has(declared, "extensions", name) }

// readDepth is how many objects deep the node looks into what a client declares.
const readDepth = 2

// Check refuses what a client declares if a key stands twice in an object that the node reads (M-10). declared is a raw
// object that was scanned before. The fault is Invalid, JSONRPC_INVALID_REQUEST.
func Check(declared []byte) error { return unique(declared, readDepth) }

func unique(raw []byte, depth int) error {
	if depth == 0 || len(raw) <= len("{}") || !wire.IsObject(raw) {
		return nil
	}
	var room [8]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return err //nolint:wrapcheck // a fault with the code to answer
	}
	for i := range fields {
		if err := unique(fields[i].Of(raw), depth-1); err != nil {
			return err
		}
	}
	return nil
}

// CanAnswer reports whether a client that declared this may be asked a question (M-30): method and params are those of
// the request, params raw.
func CanAnswer(declared []byte, method string, params []byte) bool {
	switch method {
	case "roots/list":
		return Has(declared, "roots")
	case "sampling/createMessage":
		return Has(declared, "sampling")
	case "elicitation/create":
		if wire.EqualString(wire.Get(params, "mode"), "url") {
			return Has(declared, "elicitation", "url")
		}
		// An elicitation capability that names no mode means forms.
		return Has(declared, "elicitation", "form") || (Has(declared, "elicitation") && !Has(declared, "elicitation", "url"))
	}
	return false
}
