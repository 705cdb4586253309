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
	// ServerInfo is the raw object {"name":…,"version":…} of this gateway, put
	// into the _meta of results for modern clients (M-26); nil puts none.
	ServerInfo []byte
	// InputRequired lets a result of type input_required pass (M-30).
	InputRequired bool
}

// Result adds to e the edits that make raw, the result object of an upstream,
// fit for the client: penstock_error and io.penstock/* removed always;
// resultType and serverInfo added for modern clients; resultType, ttlMs,
// cacheScope, reserved _meta keys, structuredContent that is no object, and
// content kinds that the version does not know changed for legacy ones. If e
// stays empty, raw can be sent as it is. The room of spliced values belongs to
// e. failed tells whether the result says isError.
//
// It returns a fault of Kind Invalid if raw is no object or has a key twice
// where it is read, and one of Kind Unavailable with [ReasonResultType] for a
// resultType that is neither "complete" nor allowed.
func Result(e *wire.Edits, raw []byte, o Options) (failed bool, err error) {
	var m wire.Message
	if err := wire.ScanResult(raw, &m); err != nil {
		return false, fmt.Errorf("read result: %w", err)
	}
	if err := checkType(raw, &m, o); err != nil {
		return false, err
	}
	failed = string(m.R.IsError.Of(raw)) == "true"
	e.Delete(m.R.PenstockError)
	if o.To.Era() == wire.Modern {
		return failed, toModern(e, raw, &m, o)
	}
	return failed, toLegacy(e, raw, &m, o)
}

func checkType(raw []byte, m *wire.Message, o Options) error {
	kind := m.R.ResultType.Of(raw)
	if kind == nil || wire.EqualString(kind, "complete") {
		return nil
	}
	if o.InputRequired && wire.EqualString(kind, "input_required") {
		return nil
	}
	return fault.New(fault.Unavailable, ReasonResultType, "the server answered with a kind of result that was not asked for")
}

func toModern(e *wire.Edits, raw []byte, m *wire.Message, o Options) error {
	if !m.R.ResultType.Present() {
		e.Insert(m.Result.Span, "resultType", []byte(`"complete"`))
	}
	meta := m.R.Meta
	if m.Meta.Own > 0 {
		if err := wire.StripMeta(e, raw, meta.Span, "", wire.OwnPrefix); err != nil {
			return fmt.Errorf("strip _meta: %w", err)
		}
	}
	switch {
	case o.ServerInfo == nil:
	case meta.Present():
		e.Set(meta.Span, m.Meta.ServerInfo, wire.MetaServerInfo, o.ServerInfo)
	default:
		object := append([]byte(`{"`+wire.MetaServerInfo+`":`), o.ServerInfo...)
		e.Insert(m.Result.Span, "_meta", append(object, '}'))
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
		block := s.Of(list)
		if !wire.IsObject(block) {
			continue
		}
		var room [12]wire.Field
		fields, err := wire.Fields(room[:0], block)
		if err != nil {
			return 0, 0, fmt.Errorf("read content block: %w", err)
		}
		at := wire.Span{Start: content.Start + s.Start, End: content.Start + s.End}
		switch kind := wire.Lookup(fields, "type").Of(block); {
		case wire.EqualString(kind, "text"):
			texts++
		case wire.EqualString(kind, "resource_link") && !to.AtLeast(wire.V20250618):
			e.Replace(at, linkAsText(block, fields))
			texts++
		case wire.EqualString(kind, "audio") && !to.AtLeast(wire.V20250326):
			e.Replace(at, audioAsBlob(block, fields, i))
		}
	}
	return texts, len(spans), nil
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
