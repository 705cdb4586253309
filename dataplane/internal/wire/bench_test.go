// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strings"
	"testing"
)

const smallCall = `{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"echo","arguments":{"message":"` +
	`0123456789012345678901234567890123456789012345678901234567890123"},"_meta":{"progressToken":3}}}`

func BenchmarkScanCall(b *testing.B) {
	text := []byte(smallCall)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var m Message
	for b.Loop() {
		if err := Scan(text, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScanResult80K(b *testing.B) {
	text := []byte(`{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"` +
		strings.Repeat("some text with \\n escapes and ü. ", 2500) + `"}]}}`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var m Message
	for b.Loop() {
		if err := Scan(text, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEditCall(b *testing.B) {
	text := []byte(smallCall)
	b.ReportAllocs()
	var m Message
	if err := Scan(text, &m); err != nil {
		b.Fatal(err)
	}
	var e Edits
	name, token := []byte(`"other"`), []byte("99")
	out := make([]byte, 0, 1024)
	for b.Loop() {
		e.Reset()
		e.Replace(m.P.Name.Span, name)
		e.Replace(m.Meta.ProgressToken.Span, token)
		out = e.AppendSpan(out[:0], text, m.Params.Span)
	}
}
