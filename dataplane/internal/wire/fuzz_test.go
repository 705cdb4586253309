// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// depthOf counts the nesting of valid JSON text.
func depthOf(b []byte) int {
	deepest, depth, inString := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

func seeds(f *testing.F) {
	for _, s := range []string{
		smallCall, `{}`, `[]`, `[{},{"a":[1,-0.5e+7,null,true,false,"\u00e9\\"]}]`, "\ufeff{}", `"\ud83d"`,
		`{"jsonrpc":"2.0","id":"x","result":{"_meta":{"io.penstock/a":1},"structuredContent":{"penstock_error":{}}}}`,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"m","data":{}}}`,
		"{\"a\":\"\xff\"}", `{"a":1,"a":2}`, "[" + string(bytes.Repeat([]byte("["), 300)), `{"n\u0061me":1,"name":2}`,
	} {
		f.Add([]byte(s))
	}
}

// FuzzScan holds the scanner against encoding/json: both agree on what is JSON,
// and what the scanner found is what a decoder finds.
func FuzzScan(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		strict := json.Valid(b) && utf8.Valid(b) && depthOf(b) <= MaxDepth
		if got := Valid(b); got != strict {
			t.Fatalf("Valid = %v, encoding/json %v", got, strict)
		}
		var m Message
		err := Scan(b, &m)
		// Beyond the depth limit the scanner stops and cannot know the rest.
		if code := CodeOf(err); err != nil && depthOf(b) <= MaxDepth && (code == CodeParse) == (json.Valid(b) && utf8.Valid(b)) {
			t.Fatalf("code %d: %v", code, err)
		}
		if err != nil {
			return
		}
		if !strict {
			t.Fatal("accepted what is not strict JSON")
		}
		var top map[string]json.RawMessage
		if err := json.Unmarshal(b, &top); err != nil {
			t.Fatal(err)
		}
		var params map[string]json.RawMessage
		if m.Params.Present() {
			if err := json.Unmarshal(top["params"], &params); err != nil {
				t.Fatal(err)
			}
		}
		for key, got := range map[string]Member{"method": m.Method, "params": m.Params, "result": m.Result} {
			same(t, b, key, got, top)
		}
		for key, got := range map[string]Member{"name": m.P.Name, "_meta": m.P.Meta, "arguments": m.P.Arguments} {
			same(t, b, key, got, params)
		}
	})
}

func same(t *testing.T, b []byte, key string, got Member, want map[string]json.RawMessage) {
	t.Helper()
	if w, ok := want[key]; ok != got.Present() || ok && !bytes.Equal(w, got.Of(b)) {
		t.Fatalf("%s = %q, encoding/json %q", key, got.Of(b), w)
	}
}

// FuzzEdits changes, deletes and inserts members of any object and checks
// that the members not touched keep their bytes and their order.
func FuzzEdits(f *testing.F) {
	for _, s := range []string{`{"a":1, "b" : [1, 2],"c":{"d":"}"}}`, `{ }`, `{"x":"é\n"}`} {
		f.Add([]byte(s), uint64(0x1234), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, choice uint64, inserts uint8) {
		fields, err := Fields(nil, b)
		if err != nil || len(fields) > 30 {
			return
		}
		start := bytes.IndexByte(b, '{')
		var e Edits
		var want []Field
		for i := range int(inserts % 3) {
			name := string(rune('K' + i))
			e.Insert(Span{start, len(b)}, "ins"+name, []byte(`{"new":`+name[:0]+`1}`))
		}
		for i, fd := range fields {
			switch choice >> (2 * i) & 3 {
			case 1:
				e.Delete(fd.Member)
				continue
			case 2:
				e.Replace(fd.Span, []byte(`"R"`))
			}
			want = append(want, fd)
		}
		out := e.AppendTo(nil, b)
		if e.Len() == 0 && !bytes.Equal(out, b) {
			t.Fatalf("no edits changed %q to %q", b, out)
		}
		got, err := Fields(nil, out)
		if err != nil {
			if CodeOf(err) == CodeInvalidRequest {
				return // an inserted key stood there already
			}
			t.Fatalf("%q became %q: %v", b, out, err)
		}
		got = got[inserts%3:]
		if len(got) != len(want) {
			t.Fatalf("%q became %q: %d members, want %d", b, out, len(got), len(want))
		}
		for i := range want {
			value := want[i].Of(b)
			if k := indexOf(fields, want[i]); choice>>(2*k)&3 == 2 {
				value = []byte(`"R"`)
			}
			if !bytes.Equal(got[i].Name, want[i].Name) || !bytes.Equal(got[i].Of(out), value) {
				t.Fatalf("%q became %q: member %d is %q", b, out, i, got[i].Of(out))
			}
		}
	})
}

func indexOf(fields []Field, one Field) int {
	for i := range fields {
		if fields[i].Key == one.Key {
			return i
		}
	}
	return -1
}
