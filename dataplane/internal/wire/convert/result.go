// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"fmt"
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonResultType is the Reason of the fault for a resultType that the client
// cannot be given (M-26).
const ReasonResultType = "UPSTREAM_RESULT_TYPE"

// relatedTask is a key of the reserved prefix that belongs to the legacy
// versions themselves (2025-11-25 tasks).
const relatedTask = wire.ReservedPrefix + "related-task"

// Options say for whom a result is converted.
type Options struct {
	// To is the client's version.
	To wire.Version
	// Prompt says that the result is of prompts/get, whose content stands in messages.
	Prompt bool
	// Task says that the result is of tasks/get, which may hold the result of the call.
	Task bool
	// Scan is memory for the scan of the result; nil: it is made anew.
	Scan *wire.Message
}

// Seen is what a result says of itself.
type Seen struct {
	IsError bool
	Type    []byte // raw resultType, inside the result; nil if absent
}

// Result adds to e the edits that make raw, the result object of an upstream,
// fit for the client: penstock_error and io.penstock/* removed always;
// resultType, ttlMs, cacheScope, reserved _meta keys, structuredContent that is
// no object, and content kinds that the version does not know changed for legacy
// clients. What every modern result has besides, edge adds. If e
// stays empty, raw can be sent as it is. The room of spliced values belongs to
// e.
//
// It returns a fault of Kind Invalid if raw is no object or has a key twice
// where it is read, and one of Kind Unavailable with [ReasonResultType] for a
// resultType other than "complete" where the client is a legacy one. What types a
// modern client may get depends on its request: the caller looks at Seen.Type.
func Result(e *wire.Edits, raw []byte, o Options) (Seen, error) {
	m := o.Scan
	if m == nil {
		m = new(wire.Message)
	}
	if err := wire.ScanResult(raw, m); err != nil {
		return Seen{}, fmt.Errorf("read result: %w", err)
	}
	if err := checkType(raw, m, o); err != nil {
		return Seen{}, err
	}
	seen := Seen{IsError: string(m.R.IsError.Of(raw)) == "true", Type: m.R.ResultType.Of(raw)}
	e.Delete(m.R.PenstockError)
	if o.Task {
		if err := strip(e, raw); err != nil {
			return Seen{}, err
		}
	}
	if o.To.Era() == wire.Modern {
		return seen, toModern(e, raw, m)
	}
	return seen, toLegacy(e, raw, m, o)
}

// strip removes penstock_error from the result of a call that the result of tasks/get holds (G-13).
func strip(e *wire.Edits, raw []byte) error {
	var room [12]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	at := wire.Lookup(fields, "result")
	inner := at.Of(raw)
	if !wire.IsObject(inner) {
		return nil
	}
	var m wire.Message
	if err := wire.ScanResult(inner, &m); err != nil {
		return fmt.Errorf("read the result of a task: %w", err)
	}
	if forged := m.R.PenstockError; forged.Present() {
		e.Delete(wire.Member{Key: forged.Key + at.Start, Span: wire.Span{Start: forged.Start + at.Start, End: forged.End + at.Start}})
	}
	return nil
}

func checkType(raw []byte, m *wire.Message, o Options) error {
	kind := m.R.ResultType.Of(raw)
	if kind == nil || wire.EqualString(kind, "complete") || o.To.Era() == wire.Modern {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonResultType, "the server answered with a kind of result that was not asked for")
}

func toModern(e *wire.Edits, raw []byte, m *wire.Message) error {
	if m.Meta.Own == 0 {
		return nil
	}
	if err := wire.StripMeta(e, raw, m.R.Meta.Span, "", wire.OwnPrefix); err != nil {
		return fmt.Errorf("strip _meta: %w", err)
	}
	return nil
}

func toLegacy(e *wire.Edits, raw []byte, m *wire.Message, o Options) error {
	e.Delete(m.R.ResultType)
	e.Delete(m.R.TTLMs)
	e.Delete(m.R.CacheScope)
	if m.Meta.Own+m.Meta.Reserved > 0 {
		err := wire.StripMeta(e, raw, m.R.Meta.Span, relatedTask, wire.OwnPrefix, wire.ReservedPrefix)
		if err != nil {
			return fmt.Errorf("strip _meta: %w", err)
		}
	}
	structured := m.R.StructuredContent
	misfit := structured.Present() && !wire.IsObject(structured.Of(raw))
	if misfit {
		e.Delete(structured)
	}
	if !misfit && o.To.AtLeast(wire.V20250618) {
		return nil
	}
	if o.Prompt {
		return messagesFor(e, raw, o.To)
	}
	texts, blocks, err := contentFor(e, raw, m.R.Content, o.To)
	if err != nil {
		return err
	}
	if misfit && texts == 0 {
		addText(e, raw, m, blocks)
	}
	return nil
}

// contentFor rewrites the blocks of content that version to does not know, and
// counts the text blocks and all blocks.
func contentFor(e *wire.Edits, raw []byte, content wire.Member, to wire.Version) (texts, blocks int, err error) {
	list := content.Of(raw)
	if len(list) == 0 || list[0] != '[' {
		return 0, 0, nil
	}
	var room [16]wire.Span
	spans, err := wire.Elements(room[:0], list)
	if err != nil {
		return 0, 0, fmt.Errorf("read content: %w", err)
	}
	for i, s := range spans {
		text, err := blockFor(e, raw, wire.Span{Start: content.Start + s.Start, End: content.Start + s.End}, i, to)
		if err != nil {
			return 0, 0, err
		}
		if text {
			texts++
		}
	}
	return texts, len(spans), nil
}

// blockFor rewrites one block, the index-th of its list, if version to does not
// know its kind, and reports whether it is text now.
func blockFor(e *wire.Edits, raw []byte, at wire.Span, index int, to wire.Version) (text bool, err error) {
	block := at.Of(raw)
	if !wire.IsObject(block) {
		return false, nil
	}
	var room [12]wire.Field
	fields, err := wire.Fields(room[:0], block)
	if err != nil {
		return false, fmt.Errorf("read content block: %w", err)
	}
	switch kind := wire.Lookup(fields, "type").Of(block); {
	case wire.EqualString(kind, "text"):
		return true, nil
	case wire.EqualString(kind, "resource_link") && !to.AtLeast(wire.V20250618):
		e.Replace(at, linkAsText(block, fields))
		return true, nil
	case wire.EqualString(kind, "audio") && !to.AtLeast(wire.V20250326):
		e.Replace(at, audioAsBlob(block, fields, index))
	}
	return false, nil
}

// messagesFor rewrites the blocks of a prompt's messages that version to does
// not know.
func messagesFor(e *wire.Edits, raw []byte, to wire.Version) error {
	var room [8]wire.Field
	fields, err := wire.Fields(room[:0], raw)
	if err != nil {
		return fmt.Errorf("read result: %w", err)
	}
	messages := wire.Lookup(fields, "messages")
	list := messages.Of(raw)
	if len(list) == 0 || list[0] != '[' {
		return nil
	}
	var roomy [16]wire.Span
	spans, err := wire.Elements(roomy[:0], list)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	for i, s := range spans {
		message := s.Of(list)
		if !wire.IsObject(message) {
			continue
		}
		if fields, err = wire.Fields(room[:0], message); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		at := wire.Lookup(fields, "content").Span
		if !at.Present() {
			continue
		}
		from := messages.Start + s.Start
		if _, err := blockFor(e, raw, wire.Span{Start: from + at.Start, End: from + at.End}, i, to); err != nil {
			return err
		}
	}
	return nil
}

// addText puts the JSON of structuredContent into content as a text block.
func addText(e *wire.Edits, raw []byte, m *wire.Message, blocks int) {
	block := append([]byte(`{"type":"text","text":`), wire.Quote(string(m.R.StructuredContent.Of(raw)))...)
	block = append(block, '}')
	content := m.R.Content
	switch {
	case !content.Present():
		e.Insert(m.Result.Span, "content", append(append([]byte{'['}, block...), ']'))
	case blocks == 0:
		e.Replace(content.Span, append(append([]byte{'['}, block...), ']'))
	default:
		closing := wire.Span{Start: content.End - 1, End: content.End}
		e.Replace(closing, append(append([]byte{','}, block...), ']'))
	}
}

// linkAsText writes a resource_link as the text "name: uri".
func linkAsText(block []byte, fields []wire.Field) []byte {
	name, _ := wire.DecodeString(wire.Lookup(fields, "name").Of(block))
	uri, _ := wire.DecodeString(wire.Lookup(fields, "uri").Of(block))
	out := wire.AppendString([]byte(`{"type":"text","text":`), name+": "+uri)
	return closeBlock(out, block, fields)
}

// audioAsBlob writes an audio block as an embedded resource. Its URI is ours:
// the version wants one and the block has none.
func audioAsBlob(block []byte, fields []wire.Field, index int) []byte {
	out := []byte(`{"type":"resource","resource":{"uri":"audio:///` + strconv.Itoa(index) + `"`)
	if mime := wire.Lookup(fields, "mimeType").Of(block); mime != nil {
		out = append(append(out, `,"mimeType":`...), mime...)
	}
	data := wire.Lookup(fields, "data").Of(block)
	if data == nil {
		data = []byte(`""`)
	}
	out = append(append(out, `,"blob":`...), data...)
	return closeBlock(append(out, '}'), block, fields)
}

// closeBlock ends a rewritten block and keeps its annotations.
func closeBlock(out, block []byte, fields []wire.Field) []byte {
	if notes := wire.Lookup(fields, "annotations").Of(block); notes != nil {
		out = append(append(out, `,"annotations":`...), notes...)
	}
	return append(out, '}')
}
