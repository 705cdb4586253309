// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"

	"github.com/penstockhq/penstock/dataplane/internal/wire/grammar"
)

// MaxDepth is the deepest nesting of arrays and objects that is accepted
// (mcp.md §2.1, ours).
const MaxDepth = grammar.MaxDepth

// Scan reads one JSON-RPC message in one pass, without allocating, and notes
// in m where its members lie. It checks the whole text: RFC 8259 grammar,
// UTF-8, depth ≤ MaxDepth; keys compare case-sensitively, and a key that stands
// twice in the message, params, ref, result, error, structuredContent or a
// _meta is refused (M-10, M-11). Arguments and other values are checked for
// grammar only.
//
// The error is a *fault.Fault of Kind Invalid whose Reason is
// [ReasonParse] (-32700), [ReasonRequest] (-32600) or [ReasonParams] (-32602);
// [CodeOf] gives the number. After an error m.ID holds the id if it could be
// read. Arrays are refused: see [IsBatch].
func Scan(b []byte, m *Message) error {
	*m = Message{}
	w := walk{Scanner: grammar.Scanner{Text: b}, m: m}
	w.message()
	return w.verdict()
}

// ScanParams reads a bare params object into m.P and m.Meta, as [Scan] would
// inside a request. The Spans refer to b; m.Params is the whole object. Errors
// are those of Scan.
func ScanParams(b []byte, m *Message) error {
	*m = Message{}
	w := walk{Scanner: grammar.Scanner{Text: b}, m: m}
	w.bare(inParams, &m.Params)
	return w.verdict()
}

// ScanResult reads a bare result object into m.R and m.Meta; otherwise like
// [ScanParams].
func ScanResult(b []byte, m *Message) error {
	*m = Message{}
	w := walk{Scanner: grammar.Scanner{Text: b}, m: m}
	w.bare(inResult, &m.Result)
	return w.verdict()
}

// ScanError reads a bare JSON-RPC error object into m.E; otherwise like
// [ScanParams].
func ScanError(b []byte, m *Message) error {
	*m = Message{}
	w := walk{Scanner: grammar.Scanner{Text: b}, m: m}
	w.bare(inError, &m.Error)
	return w.verdict()
}

// unknownKeys bounds how many keys without a slot are compared one by one;
// beyond that a set is made, so that a hostile _meta costs linear time.
const unknownKeys = 16

// walk is a scanner that also fills a Message. A duplicate key or a member of
// the wrong type does not stop it, so that the id is found wherever it stands.
type walk struct {
	grammar.Scanner
	m     *Message
	dup   bool
	noted complaint
	keys  [unknownKeys][]byte
	nkeys int
}

// message walks the outermost object.
func (w *walk) message() {
	if !w.start() {
		return
	}
	from := w.I
	if w.Peek() != '{' {
		if w.Value(0) && w.end() {
			w.note(notObject)
		}
		return
	}
	if !w.members(inMessage, 1) {
		return
	}
	w.m.Body = Span{from, w.I}
	if w.end() {
		w.classify()
	}
}

// bare walks an object that stands alone.
func (w *walk) bare(f frame, whole *Member) {
	if !w.start() {
		return
	}
	from := w.I
	if w.Peek() != '{' {
		if w.Value(0) && w.end() {
			w.note(notObject)
		}
		return
	}
	if w.members(f, 1) {
		whole.Span = Span{from, w.I}
		w.end()
	}
}

func (w *walk) start() bool {
	if bytes.HasPrefix(w.Text, []byte{0xEF, 0xBB, 0xBF}) {
		return w.Fail(grammar.ByteOrderMark, 0)
	}
	w.Space()
	return true
}

func (w *walk) end() bool {
	if w.Space(); w.I != len(w.Text) {
		return w.Fail(grammar.BadSyntax, w.I)
	}
	return true
}

// members walks an object of which members are noted.
func (w *walk) members(f frame, depth int) bool {
	if depth > MaxDepth {
		return w.Fail(grammar.TooDeep, w.I)
	}
	w.I++
	if w.Peek() == '}' {
		w.I++
		return true
	}
	seen := seenKeys{first: w.nkeys}
	for {
		at, key, ok := w.key()
		if !ok || !w.Colon() {
			return false
		}
		slot := w.m.slot(f, key)
		if slot == nil {
			w.remember(&seen, key)
		} else if slot.Present() {
			w.dup = true
		}
		if f == inMeta {
			w.m.Meta.count(key)
		}
		w.Peek()
		from := w.I
		if !w.inner(f, key, depth) {
			return false
		}
		if slot != nil {
			*slot = Member{Key: at, Span: Span{from, w.I}}
		}
		switch w.Peek() {
		case ',':
			w.I++
		case '}':
			w.I++
			w.nkeys = seen.first
			return true
		default:
			return w.Fail(grammar.BadSyntax, w.I)
		}
	}
}

// key walks a key and returns its offset and its decoded bytes, which alias
// the text unless the key has escapes.
func (w *walk) key() (at int, key []byte, ok bool) {
	if w.Peek() != '"' {
		return 0, nil, w.Fail(grammar.BadSyntax, w.I)
	}
	at = w.I
	escaped, ok := w.Str()
	if !ok {
		return 0, nil, false
	}
	if escaped {
		return at, AppendDecoded(nil, w.Text[at:w.I]), true
	}
	return at, w.Text[at+1 : w.I-1], true
}

// inner walks the value of a member, and into it if its members are read.
func (w *walk) inner(f frame, key []byte, depth int) bool {
	into, must := inside(f, key)
	if into == inMessage {
		return w.Value(depth)
	}
	if w.Peek() != '{' {
		w.note(must)
		return w.Value(depth)
	}
	return w.members(into, depth+1)
}

// inside returns the frame of a member whose own members are read, inMessage
// for all others, and the complaint if the member is no object.
func inside(f frame, key []byte) (frame, complaint) {
	switch f {
	case inMessage:
		switch string(key) {
		case "params":
			return inParams, paramsNotObject
		case "result":
			return inResult, nothing
		case "error":
			return inError, errorNotObject
		}
	case inParams:
		switch string(key) {
		case "_meta":
			return inMeta, metaNotObject
		case "ref":
			return inRef, nothing
		}
	case inResult:
		switch string(key) {
		case "_meta":
			return inMeta, metaNotObject
		case "structuredContent":
			return inStructured, nothing
		}
	case inMeta, inRef, inStructured, inError:
	}
	return inMessage, nothing
}

func (t *Meta) count(key []byte) {
	switch {
	case bytes.HasPrefix(key, []byte(ReservedPrefix)):
		t.Reserved++
	case bytes.HasPrefix(key, []byte(OwnPrefix)):
		t.Own++
	}
}

// seenKeys are the keys of one object that have no slot: those from first on
// in walk.keys, and the set once there are too many.
type seenKeys struct {
	first int
	set   map[string]struct{}
}

func (w *walk) remember(seen *seenKeys, key []byte) {
	if seen.set == nil {
		for _, k := range w.keys[seen.first:w.nkeys] {
			if bytes.Equal(k, key) {
				w.dup = true
			}
		}
		if w.nkeys < unknownKeys {
			w.keys[w.nkeys] = key
			w.nkeys++
			return
		}
		seen.set = make(map[string]struct{})
		for _, k := range w.keys[seen.first:w.nkeys] {
			seen.set[string(k)] = struct{}{}
		}
	}
	if _, ok := seen.set[string(key)]; ok {
		w.dup = true
	}
	seen.set[string(key)] = struct{}{}
}
