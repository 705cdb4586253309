// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"strings"
	"testing"
)

func TestScanFindsMembers(t *testing.T) {
	text := []byte(`
 { "method" : "tools/call", "x": [1,{"id":9}],
   "params": {"name":"a\"b","arguments":{"name":"inner","z":1e400},"_meta":{"progressToken":"p",
     "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},
     "io.penstock/context":"h","traceparent":"00-a","other":{}},"requestState":"s","inputResponses":{}},
   "id" : -17 , "jsonrpc":"2.0" }  `)
	var m Message
	if err := Scan(text, &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		span Span
		text string
	}{
		"id":             {m.ID.Span, `-17`},
		"method":         {m.Method.Span, `"tools/call"`},
		"name":           {m.P.Name.Span, `"a\"b"`},
		"arguments":      {m.P.Arguments.Span, `{"name":"inner","z":1e400}`},
		"requestState":   {m.P.RequestState.Span, `"s"`},
		"inputResponses": {m.P.InputResponses.Span, `{}`},
		"progressToken":  {m.Meta.ProgressToken.Span, `"p"`},
		"version":        {m.Meta.ProtocolVersion.Span, `"2026-07-28"`},
		"capabilities":   {m.Meta.ClientCapabilities.Span, `{}`},
		"traceparent":    {m.Meta.Traceparent.Span, `"00-a"`},
	}
	for name, w := range want {
		if got := string(w.span.Of(text)); got != w.text {
			t.Errorf("%s = %q, want %q", name, got, w.text)
		}
	}
	if m.Kind != Request || m.Meta.Reserved != 2 || m.Meta.Own != 1 {
		t.Errorf("kind %d, reserved %d, own %d", m.Kind, m.Meta.Reserved, m.Meta.Own)
	}
	if m.Result.Present() || m.P.URI.Present() || m.P.URI.Of(text) != nil {
		t.Error("absent members are present")
	}
}

func TestScanKinds(t *testing.T) {
	tests := map[string]Kind{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`:                            Request,
		`{"jsonrpc":"2.0","id":"","method":"ping"}`:                           Request,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`:              Notification,
		`{"result":{},"jsonrpc":"2.0","id":1}`:                                Response,
		`{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}`:          ErrorResponse,
		`{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m"}}`:       ErrorResponse,
		`{"jsonrpc":"2.0","error":{"code":-1,"message":"m","data":{"a":[]}}}`: ErrorResponse,
	}
	for text, want := range tests {
		var m Message
		if err := Scan([]byte(text), &m); err != nil || m.Kind != want {
			t.Errorf("%s: kind %d, %v; want %d", text, m.Kind, err, want)
		}
	}
}

// TestScanRefuses has a row for each way in which M-10 and M-11 refuse a
// message, and whether the id can still be echoed.
func TestScanRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	long := make([]string, 40)
	for i := range long {
		long[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	tests := []struct {
		name, text string
		code       int
		id         string
	}{
		{"empty", ``, CodeParse, ""},
		{"white space", " \n", CodeParse, ""},
		{"half", `{"jsonrpc":"2.0","id":1,"method":"a"`, CodeParse, "1"},
		{"trailing", `{"jsonrpc":"2.0","id":1,"method":"a"} x`, CodeParse, "1"},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"a",}`, CodeParse, "1"},
		{"leading zero", `{"jsonrpc":"2.0","id":01,"method":"a"}`, CodeParse, ""},
		{"plus", `{"a":+1}`, CodeParse, ""},
		{"single quotes", `{'a':1}`, CodeParse, ""},
		{"control character", "{\"a\":\"\x01\"}", CodeParse, ""},
		{"raw newline in string", "{\"a\":\"\n\"}", CodeParse, ""},
		{"bad escape", `{"a":"\x"}`, CodeParse, ""},
		{"short unicode escape", `{"a":"\u12"}`, CodeParse, ""},
		{"byte order mark", "\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"a"}`, CodeParse, ""},
		{"bad UTF-8", "{\"a\":\"\xff\"}", CodeParse, ""},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", CodeParse, ""},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", CodeParse, ""},
		{"bad UTF-8 in key", "{\"\xff\":1}", CodeParse, ""},
		{"NaN", `{"a":NaN}`, CodeParse, ""},
		{"array", `[]`, CodeInvalidRequest, ""},
		{"string", `"a"`, CodeInvalidRequest, ""},
		{"too deep", `{"jsonrpc":"2.0","id":1,"method":"a","x":` + deep(256) + `}`, CodeInvalidRequest, "1"},
		{"no jsonrpc", `{"id":1,"method":"a"}`, CodeInvalidRequest, "1"},
		{"jsonrpc 1.0", `{"jsonrpc":"1.0","id":1,"method":"a"}`, CodeInvalidRequest, "1"},
		{"jsonrpc number", `{"jsonrpc":2.0,"id":1,"method":"a"}`, CodeInvalidRequest, "1"},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"a"}`, CodeInvalidRequest, ""},
		{"id fraction", `{"jsonrpc":"2.0","id":1.5,"method":"a"}`, CodeInvalidRequest, ""},
		{"id exponent", `{"jsonrpc":"2.0","id":1e3,"method":"a"}`, CodeInvalidRequest, ""},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"a"}`, CodeInvalidRequest, ""},
		{"id bool", `{"jsonrpc":"2.0","id":true,"method":"a"}`, CodeInvalidRequest, ""},
		{"method number", `{"jsonrpc":"2.0","id":1,"method":1}`, CodeInvalidRequest, "1"},
		{"nothing", `{"jsonrpc":"2.0","id":1}`, CodeInvalidRequest, "1"},
		{"method and result", `{"jsonrpc":"2.0","id":1,"method":"a","result":{}}`, CodeInvalidRequest, "1"},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, CodeInvalidRequest, "1"},
		{"result without id", `{"jsonrpc":"2.0","result":{}}`, CodeInvalidRequest, ""},
		{"result with null id", `{"jsonrpc":"2.0","id":null,"result":{}}`, CodeInvalidRequest, ""},
		{"result with params", `{"jsonrpc":"2.0","id":1,"params":{},"result":{}}`, CodeInvalidRequest, "1"},
		{"error string", `{"jsonrpc":"2.0","id":1,"error":"no"}`, CodeInvalidRequest, "1"},
		{"params array before id", `{"jsonrpc":"2.0","params":[],"method":"a","id":"x"}`, CodeInvalidParams, `"x"`},
		{"params null", `{"jsonrpc":"2.0","params":null,"method":"a","id":1}`, CodeInvalidParams, "1"},
		{"meta string", `{"jsonrpc":"2.0","params":{"_meta":""},"method":"a","id":1}`, CodeInvalidParams, "1"},
		{"envelope before params", `{"jsonrpc":"2","params":[],"method":"a","id":1}`, CodeInvalidRequest, "1"},
		{"duplicate method", `{"jsonrpc":"2.0","id":1,"method":"a","method":"a"}`, CodeInvalidRequest, "1"},
		{"duplicate unknown", `{"jsonrpc":"2.0","id":1,"method":"a","x":1,"x":2}`, CodeInvalidRequest, "1"},
		{"duplicate escaped", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"a","n\u0061me":"b"}}`, CodeInvalidRequest, "1"},
		{"duplicate escaped unknown", `{"jsonrpc":"2.0","id":1,"method":"a","q":1,"\u0071":2}`, CodeInvalidRequest, "1"},
		{"duplicate in meta", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"a":1,"a":2}}}`, CodeInvalidRequest, "1"},
		{"duplicate in ref", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"ref":{"name":"a","name":"b"}}}`, CodeInvalidRequest, "1"},
		{"duplicate in result", `{"jsonrpc":"2.0","id":1,"result":{"isError":true,"isError":false}}`, CodeInvalidRequest, "1"},
		{"duplicate in error", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2}}`, CodeInvalidRequest, "1"},
		{"duplicate forged error", `{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"penstock_error":1,"penstock_error":2}}}`, CodeInvalidRequest, "1"},
		{"duplicate among many", `{"jsonrpc":"2.0","id":1,"method":"a",` + strings.Join(long, ",") + `,"k39":2}`, CodeInvalidRequest, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			err := Scan([]byte(tt.text), &m)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := CodeOf(err); got != tt.code {
				t.Errorf("code %d, want %d (%v)", got, tt.code, err)
			}
			if got := string(m.ID.Of([]byte(tt.text))); got != tt.id {
				t.Errorf("id %q, want %q", got, tt.id)
			}
			if m.Kind != Invalid {
				t.Errorf("kind %d", m.Kind)
			}
		})
	}
}

func TestScanAccepts(t *testing.T) {
	many := make([]string, 60)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	deep := strings.Repeat("[", 255) + strings.Repeat("]", 255)
	tests := map[string]string{
		"case is not folded":          `{"jsonrpc":"2.0","id":1,"method":"a","Method":"b","params":{"name":"a","NAME":"b"}}`,
		"duplicates nobody reads":     `{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"a":1,"a":2}}}`,
		"depth 256":                   `{"jsonrpc":"2.0","id":1,"method":"a","x":` + deep + `}`,
		"lone surrogate escape":       `{"jsonrpc":"2.0","id":1,"method":"a","x":"\ud83d"}`,
		"big numbers":                 `{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"a"}`,
		"many keys":                   `{"jsonrpc":"2.0","id":1,"method":"a",` + strings.Join(many, ",") + `}`,
		"same key in sibling objects": `{"jsonrpc":"2.0","id":1,"method":"a","q":1,"params":{"q":1,"_meta":{"q":1}}}`,
		"result that is no object":    `{"jsonrpc":"2.0","id":1,"result":[]}`,
	}
	for name, text := range tests {
		var m Message
		if err := Scan([]byte(text), &m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScanAllocates(t *testing.T) {
	text := []byte(smallCall)
	var m Message
	if n := testing.AllocsPerRun(100, func() {
		if err := Scan(text, &m); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per scan", n)
	}
}

func TestVersions(t *testing.T) {
	for _, v := range Supported() {
		wantNegotiated, wantList := v, 1
		if v == V20260728 {
			wantNegotiated, wantList = LatestLegacy, 5
		}
		if got := Negotiate(string(v)); got != wantNegotiated {
			t.Errorf("M-4: initialize with %s answers %s", v, got)
		}
		if got := SupportedFor(string(v)); len(got) != wantList || got[0] != Latest {
			t.Errorf("M-5: supported for %s: %v", v, got)
		}
		if _, ok := ParseVersion(string(v)); !ok || !v.Known() {
			t.Errorf("%s is not known", v)
		}
	}
	if got := Negotiate("1999-01-01"); got != LatestLegacy {
		t.Errorf("M-4: unknown version answers %s", got)
	}
	if got := SupportedFor("1999-01-01"); len(got) != 5 {
		t.Errorf("M-5: %v", got)
	}
	if V20260728.Era() != Modern || V20241105.Era() != Legacy || Version("x").Era() != Unknown {
		t.Error("eras")
	}
	if !V20250618.AtLeast(V20250326) || V20250326.AtLeast(V20250618) {
		t.Error("order of versions")
	}
}

func TestBatch(t *testing.T) {
	one := `{"jsonrpc":"2.0","method":"a"}`
	tests := []struct {
		name, text string
		n, code    int
	}{
		{"two", " [" + one + " ,\n" + one + "] ", 2, 0},
		{"bad member is the scanner's business", `[1,"x"]`, 2, 0},
		{"empty", "[]", 0, CodeInvalidRequest},
		{"64", "[" + strings.Repeat(one+",", 63) + one + "]", 64, 0},
		{"65", "[" + strings.Repeat(one+",", 64) + one + "]", 65, CodeInvalidRequest},
		{"half", "[" + one, 0, CodeParse},
		{"trailing", "[" + one + "]]", 0, CodeParse},
		{"object", one, 0, CodeInvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spans, err := SplitBatch(nil, []byte(tt.text))
			if tt.code == 0 && err != nil || tt.code != 0 && CodeOf(err) != tt.code {
				t.Fatalf("%v, want code %d", err, tt.code)
			}
			if err == nil && len(spans) != tt.n {
				t.Errorf("%d messages, want %d", len(spans), tt.n)
			}
		})
	}
	if !IsBatch([]byte(" \n[")) || IsBatch([]byte("{}")) || IsBatch(nil) {
		t.Error("IsBatch")
	}
}
