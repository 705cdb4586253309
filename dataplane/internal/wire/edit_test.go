// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/json"
	"testing"
)

func TestEdits(t *testing.T) {
	tests := []struct {
		name, text, want string
		edit             func(e *Edits, f []Field, whole Span)
	}{
		{"nothing", `{ "a" : 1 }`, `{ "a" : 1 }`, func(*Edits, []Field, Span) {}},
		{"replace", `{ "a" : 1 , "b":2}`, `{ "a" : [9] , "b":2}`, func(e *Edits, f []Field, _ Span) {
			e.Replace(f[0].Span, []byte("[9]"))
		}},
		{"delete first", `{ "a" : 1 , "b":2}`, `{ "b":2}`, func(e *Edits, f []Field, _ Span) { e.Delete(f[0].Member) }},
		{"delete middle", `{"a":1,"b":2,"c":3}`, `{"a":1,"c":3}`, func(e *Edits, f []Field, _ Span) { e.Delete(f[1].Member) }},
		{"delete last", `{"a":1, "b":2 }`, `{"a":1 }`, func(e *Edits, f []Field, _ Span) { e.Delete(f[1].Member) }},
		{"delete only", `{"a":1}`, `{}`, func(e *Edits, f []Field, _ Span) { e.Delete(f[0].Member) }},
		{"delete all", `{"a":1,"b":2}`, `{}`, func(e *Edits, f []Field, _ Span) {
			e.Delete(f[1].Member)
			e.Delete(f[0].Member)
		}},
		{"delete last two", `{"a":1,"b":2,"c":3}`, `{"a":1}`, func(e *Edits, f []Field, _ Span) {
			e.Delete(f[1].Member)
			e.Delete(f[2].Member)
		}},
		{"delete absent", `{"a":1}`, `{"a":1}`, func(e *Edits, _ []Field, _ Span) { e.Delete(Member{}) }},
		{"insert", `{"a":1}`, `{"k":true,"a":1}`, func(e *Edits, _ []Field, w Span) { e.Insert(w, "k", []byte("true")) }},
		{"insert into empty", `{ }`, `{"k":1 }`, func(e *Edits, _ []Field, w Span) { e.Insert(w, "k", []byte("1")) }},
		{"insert two into empty", `{}`, `{"k":1,"l":{}}`, func(e *Edits, _ []Field, w Span) {
			e.Insert(w, "k", []byte("1"))
			e.Insert(w, "l", []byte("{}"))
		}},
		{"insert and delete all", `{"a":1,"b":2}`, `{"k":1,"l":2}`, func(e *Edits, f []Field, w Span) {
			e.Delete(f[0].Member)
			e.Insert(w, "k", []byte("1"))
			e.Delete(f[1].Member)
			e.Insert(w, "l", []byte("2"))
		}},
		{"key is quoted", `{}`, `{"a\"b":1}`, func(e *Edits, _ []Field, w Span) { e.Insert(w, `a"b`, []byte("1")) }},
		{"set present", `{"a":1}`, `{"a":2}`, func(e *Edits, f []Field, w Span) { e.Set(w, f[0].Member, "a", []byte("2")) }},
		{"set absent", `{"a":1}`, `{"b":2,"a":1}`, func(e *Edits, _ []Field, w Span) { e.Set(w, Member{}, "b", []byte("2")) }},
		{"inside a deleted member", `{"a":{"b":1},"c":2}`, `{"c":2}`, func(e *Edits, f []Field, _ Span) {
			e.Replace(Span{f[0].Start + 5, f[0].Start + 6}, []byte("9"))
			e.Delete(f[0].Member)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fields, err := Fields(nil, []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var e Edits
			tt.edit(&e, fields, Span{0, len(tt.text)})
			got := string(e.AppendTo([]byte("{,"), []byte(tt.text)))
			if got != "{,"+tt.want {
				t.Errorf("got %s, want {,%s", got, tt.want)
			}
		})
	}
}

func TestStripMeta(t *testing.T) {
	text := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.penstock/x":1,"keep":2,` +
		`"io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/related-task":{},"a":3},"name":"n"}}`
	var m Message
	if err := Scan([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	var e Edits
	err := StripMeta(&e, []byte(text), m.P.Meta.Span, "io.modelcontextprotocol/related-task", ReservedPrefix, OwnPrefix)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_meta":{"keep":2,"io.modelcontextprotocol/related-task":{},"a":3},"name":"n"}`
	if got := string(e.AppendSpan(nil, []byte(text), m.Params.Span)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e.Reset()
	if err := StripMeta(&e, []byte(text), Span{}, "", OwnPrefix); err != nil || e.Len() != 0 {
		t.Errorf("absent _meta: %v, %d edits", err, e.Len())
	}
}

func TestText(t *testing.T) {
	for raw, want := range map[string]string{
		`""`:                   "",
		`"plain ü"`:            "plain ü",
		`"\"\\\/\b\f\n\r\t"`:   "\"\\/\b\f\n\r\t",
		`"\u0041\u00fc\u20AC"`: "Aü€",
		`"\ud83d\ude00!"`:      "😀!",
		`"\ud83d"`:             "\ufffd",
		`"\ud83d\u0041"`:       "\ufffdA",
		`"\ude00\ud83d"`:       "\ufffd\ufffd",
	} {
		got, ok := DecodeString([]byte(raw))
		if !ok || got != want {
			t.Errorf("DecodeString(%s) = %q, %v; want %q", raw, got, ok, want)
		}
		if !EqualString([]byte(raw), want) || EqualString([]byte(raw), want+"x") {
			t.Errorf("EqualString(%s)", raw)
		}
	}
	for _, raw := range []string{`1`, `null`, `{}`, ``} {
		if s, ok := DecodeString([]byte(raw)); ok || EqualString([]byte(raw), s) {
			t.Errorf("%q is a string", raw)
		}
	}
	for _, s := range []string{"", "a\"\\\n\r\t\x00\x1f", "ü€😀\u2028", "bad\xff"} {
		var back string
		if err := json.Unmarshal(Quote(s), &back); err != nil || back != string([]rune(s)) {
			t.Errorf("Quote(%q) = %s, %v", s, Quote(s), err)
		}
	}
}

func TestBuilders(t *testing.T) {
	tests := []struct{ got, want string }{
		{string(AppendRequest(nil, 7, "ping", nil)), `{"jsonrpc":"2.0","id":7,"method":"ping"}`},
		{string(AppendRequest(nil, -1, "a", []byte(`{}`))), `{"jsonrpc":"2.0","id":-1,"method":"a","params":{}}`},
		{string(AppendNotification(nil, "n", []byte(`{"a":1}`))), `{"jsonrpc":"2.0","method":"n","params":{"a":1}}`},
		{string(AppendResult(nil, []byte(`"x"`), []byte(`{}`))), `{"jsonrpc":"2.0","id":"x","result":{}}`},
		{string(AppendError(nil, nil, CodeParse, `"`, nil)), `{"jsonrpc":"2.0","error":{"code":-32700,"message":"\""}}`},
		{
			string(AppendError(nil, []byte("1"), CodeVersion, "v", []byte(`{"a":1}`))),
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"v","data":{"a":1}}}`,
		},
		{string(AppendErrorResponse(nil, []byte("1"), []byte(`{"code":1}`))), `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`},
		{string(AppendOneLine(nil, []byte("{\r\n\"a\":\n1}"))), `{  "a": 1}`},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
	for raw, want := range map[string]int64{"0": 0, "-5": -5, "9223372036854775807": 1<<63 - 1} {
		if n, ok := Int([]byte(raw)); !ok || n != want {
			t.Errorf("Int(%s) = %d, %v", raw, n, ok)
		}
	}
	for _, raw := range []string{"", "1.5", `"1"`, "9223372036854775808", "1e3"} {
		if _, ok := Int([]byte(raw)); ok {
			t.Errorf("Int(%q) is an integer", raw)
		}
	}
}

func TestGet(t *testing.T) {
	const object = `{"a":{"b":[1],"c":"x"},"n":null}`
	tests := []struct {
		path []string
		want string
	}{
		{nil, object},
		{[]string{"a"}, `{"b":[1],"c":"x"}`},
		{[]string{"a", "b"}, `[1]`},
		{[]string{"n"}, `null`},
		{[]string{"A"}, ``},
		{[]string{"a", "d"}, ``},
		{[]string{"a", "b", "0"}, ``},
		{[]string{"n", "x"}, ``},
	}
	for _, tt := range tests {
		if got := string(Get([]byte(object), tt.path...)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.path, got, tt.want)
		}
	}
	if got := Get([]byte(`{"a":1,"a":2}`), "a"); got != nil {
		t.Errorf("a duplicate key gives %s (M-10)", got)
	}
}
