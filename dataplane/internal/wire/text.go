// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/wire/grammar"
)

// IsString reports whether raw is a JSON string (raw is one scanned value).
func IsString(raw []byte) bool { return len(raw) > 1 && raw[0] == '"' }

// IsObject reports whether raw is a JSON object (raw is one scanned value).
func IsObject(raw []byte) bool { return len(raw) > 1 && raw[0] == '{' }

// DecodeString returns the text of a scanned JSON string, quotes included in
// raw, and whether raw is a string at all. A lone surrogate escape becomes
// U+FFFD.
func DecodeString(raw []byte) (string, bool) {
	if !IsString(raw) {
		return "", false
	}
	if in := raw[1 : len(raw)-1]; bytes.IndexByte(in, '\\') < 0 {
		return string(in), true
	}
	return string(AppendDecoded(nil, raw)), true
}

// EqualString reports whether raw is a JSON string with the text s, without
// allocating when raw has no escapes.
func EqualString(raw []byte, s string) bool {
	if !IsString(raw) {
		return false
	}
	in := raw[1 : len(raw)-1]
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in) == s
	}
	return string(AppendDecoded(nil, raw)) == s
}

// AppendDecoded appends the text of a scanned JSON string, quotes included in
// raw, to dst. It returns dst unchanged if raw is no string.
func AppendDecoded(dst, raw []byte) []byte {
	if !IsString(raw) {
		return dst
	}
	in := raw[1 : len(raw)-1]
	for {
		n := bytes.IndexByte(in, '\\')
		if n < 0 || n+1 >= len(in) {
			return append(dst, in...)
		}
		dst = append(dst, in[:n]...)
		var used int
		dst, used = appendEscape(dst, in[n:])
		in = in[n+used:]
	}
}

// appendEscape appends what the escape at the start of in stands for and
// returns how many bytes of in it took.
func appendEscape(dst, in []byte) ([]byte, int) {
	switch in[1] {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
		r, ok := hex4(in)
		if !ok {
			return append(dst, in...), len(in)
		}
		if utf16.IsSurrogate(r) && len(in) >= 12 && in[6] == '\\' && in[7] == 'u' {
			if low, ok := hex4(in[6:]); ok {
				if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
					return utf8.AppendRune(dst, full), 12
				}
			}
		}
		return utf8.AppendRune(dst, r), 6
	}
	return append(dst, in[1]), 2
}

// hex4 reads the four digits of the escape \uXXXX at the start of in.
func hex4(in []byte) (rune, bool) {
	if len(in) < 6 {
		return 0, false
	}
	var r rune
	for _, c := range in[2:6] {
		d, ok := grammar.Hex(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | d
	}
	return r, true
}

// AppendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD; the
// characters U+2028 and U+2029 and all others from U+0020 on stay as they are.
func AppendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}

// Quote returns s as a JSON string.
func Quote(s string) []byte { return AppendString(make([]byte, 0, len(s)+2), s) }

// AppendOneLine appends the scanned JSON text raw with its line breaks made
// spaces. Inside strings JSON knows no raw line break, so all of them stand
// between tokens and the value is unchanged (stdio lines, SSE data).
func AppendOneLine(dst, raw []byte) []byte {
	at := len(dst)
	dst = append(dst, raw...)
	for i, c := range dst[at:] {
		if c == '\n' || c == '\r' {
			dst[at+i] = ' '
		}
	}
	return dst
}

// Int returns the value of a scanned integer literal and whether raw is one
// that fits.
func Int(raw []byte) (int64, bool) {
	if len(raw) == 0 || len(raw) > 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// AppendRequest appends a JSON-RPC request with an integer id. Without params
// (nil) the member is left out.
func AppendRequest(dst []byte, id int64, method string, params []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = strconv.AppendInt(dst, id, 10)
	return appendMethod(append(dst, ','), method, params)
}

// AppendNotification appends a JSON-RPC notification; params as in
// [AppendRequest].
func AppendNotification(dst []byte, method string, params []byte) []byte {
	return appendMethod(append(dst, `{"jsonrpc":"2.0",`...), method, params)
}

func appendMethod(dst []byte, method string, params []byte) []byte {
	dst = AppendString(append(dst, `"method":`...), method)
	if params != nil {
		dst = append(append(dst, `,"params":`...), params...)
	}
	return append(dst, '}')
}

// AppendResult appends a response. The id is raw JSON, result a raw object.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(append(dst, `{"jsonrpc":"2.0","id":`...), id...)
	dst = append(append(dst, `,"result":`...), result...)
	return append(dst, '}')
}

// AppendErrorResponse appends a response that carries error, a raw JSON-RPC
// error object as an upstream sent it. Without an id (nil) the member is left
// out.
func AppendErrorResponse(dst, id, object []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0"`...)
	if id != nil {
		dst = append(append(dst, `,"id":`...), id...)
	}
	dst = append(append(dst, `,"error":`...), object...)
	return append(dst, '}')
}

// AppendError appends an error response made here. The id is raw JSON and left
// out when nil (unreadable request); data is raw JSON and left out when nil.
func AppendError(dst, id []byte, code int, message string, data []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0"`...)
	if id != nil {
		dst = append(append(dst, `,"id":`...), id...)
	}
	dst = AppendErrorObject(append(dst, `,"error":`...), code, message, data)
	return append(dst, '}')
}

// AppendErrorObject appends a bare JSON-RPC error object; data as in
// [AppendError].
func AppendErrorObject(dst []byte, code int, message string, data []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"code":`...), int64(code), 10)
	dst = AppendString(append(dst, `,"message":`...), message)
	if data != nil {
		dst = append(append(dst, `,"data":`...), data...)
	}
	return append(dst, '}')
}

// String renders a Span for test failures and debugging.
func (s Span) String() string { return fmt.Sprintf("[%d,%d)", s.Start, s.End) }
