// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonArguments (Invalid): the arguments of a call are no JSON object that all readers understand alike.
const ReasonArguments = "ARGUMENTS_INVALID"

// maxDepth bounds how deep arguments are nested, and with it the stack.
const maxDepth = 512

// Sum returns the SHA-256 of arguments in canonical form (RFC 8785), none being the empty object. Neither the order of members nor
// the spelling of strings and numbers matters. A number that a double does not hold exactly, which RFC 8785 leaves out, keeps all
// its digits: two that differ never have one sum. The fault is Invalid, ARGUMENTS_INVALID.
func Sum(arguments []byte) ([sha256.Size]byte, error) {
	if len(arguments) == 0 {
		arguments = []byte("{}")
	}
	canonical, err := canonicalize(arguments)
	if err != nil {
		return [sha256.Size]byte{}, fault.Newf(fault.Invalid, ReasonArguments, "The arguments cannot be held for approval: %s.", err)
	}
	return sha256.Sum256(canonical), nil
}

// errSyntax hides what encoding/json says: it quotes the arguments.
var errSyntax = errors.New("they are not a JSON object")

func canonicalize(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("they are not valid UTF-8")
	}
	if !json.Valid(raw) || bytes.TrimLeft(raw, " \t\r\n")[0] != '{' {
		return nil, errSyntax
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	w := writer{in: d}
	if err := w.value(0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errSyntax
	}
	return w.out, nil
}

// writer copies a JSON value in canonical form.
type writer struct {
	in  *json.Decoder
	out []byte
}

func (w *writer) value(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("they are nested more than %d deep", maxDepth)
	}
	token, err := w.in.Token()
	if err != nil {
		return errSyntax
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return w.object(depth)
		}
		return w.array(depth)
	case json.Number:
		n, err := number(t.String())
		w.out = append(w.out, n...)
		return err
	case string:
		w.out = appendText(w.out, t)
	case bool:
		w.out = strconv.AppendBool(w.out, t)
	default:
		w.out = append(w.out, "null"...)
	}
	return nil
}

// member is a member of an object, in canonical form.
type member struct {
	order []uint16 // of the name: UTF-16 code units (RFC 8785, section 3.2.3)
	text  []byte
}

func (w *writer) object(depth int) error {
	outer := w.out
	var members []member
	seen := make(map[string]bool)
	for w.in.More() {
		token, err := w.in.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errSyntax
		}
		if seen[name] {
			return errors.New("a name stands twice in an object, and servers may take either")
		}
		seen[name] = true
		w.out = append(appendText(nil, name), ':')
		if err := w.value(depth + 1); err != nil {
			return err
		}
		members = append(members, member{utf16.Encode([]rune(name)), w.out})
	}
	if _, err := w.in.Token(); err != nil {
		return errSyntax
	}
	slices.SortFunc(members, func(a, b member) int { return slices.Compare(a.order, b.order) })
	w.out = append(outer, '{')
	for i, m := range members {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, m.text...)
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *writer) array(depth int) error {
	w.out = append(w.out, '[')
	for first := true; w.in.More(); first = false {
		if !first {
			w.out = append(w.out, ',')
		}
		if err := w.value(depth + 1); err != nil {
			return err
		}
	}
	if _, err := w.in.Token(); err != nil {
		return errSyntax
	}
	w.out = append(w.out, ']')
	return nil
}

// appendText writes a string with the escapes of RFC 8785, section 3.2.2.2.
func appendText(out []byte, s string) []byte {
	out = append(out, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, `\b`...)
		case '\t':
			out = append(out, `\t`...)
		case '\n':
			out = append(out, `\n`...)
		case '\f':
			out = append(out, `\f`...)
		case '\r':
			out = append(out, `\r`...)
		default:
			if c < ' ' {
				out = fmt.Appendf(out, `\u%04x`, c)
			} else {
				out = append(out, c)
			}
		}
	}
	return append(out, '"')
}

// number writes a number as ECMAScript does (RFC 8785, section 3.2.2.3), if it is exactly what a double is written as; else with all
// its digits, as d e exponent.
func number(text string) (string, error) {
	digits, exponent, negative, err := decimal(text)
	if err != nil {
		return "", err
	}
	if digits == "" {
		return "0", nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err == nil && !math.IsInf(f, 0) {
		short := strconv.FormatFloat(math.Abs(f), 'e', -1, 64)
		d, e, _, err := decimal(short)
		if err == nil && d == digits && e == exponent {
			return ecmaScript(f), nil
		}
	}
	sign := ""
	if negative {
		sign = "-"
	}
	return sign + digits + "e" + strconv.Itoa(exponent), nil
}

// decimal takes a number of JSON apart: it is digits × 10^exponent; digits begin and end with another one than 0, none for zero.
func decimal(text string) (digits string, exponent int, negative bool, err error) {
	text, negative = strings.CutPrefix(text, "-")
	mantissa, power := text, ""
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa, power = text[:i], text[i+1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "", 0, negative, nil
	}
	if power != "" {
		if exponent, err = strconv.Atoi(strings.TrimPrefix(power, "+")); err != nil || cmp.Compare(exponent, 1<<20) > 0 || exponent < -1<<20 {
			return "", 0, false, errors.New("a number has an exponent beyond measure")
		}
	}
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	return trimmed, exponent + len(digits) - len(trimmed), negative, nil
}

// ecmaScript is Number::toString (ECMA-262, section 6.1.6.1.20).
func ecmaScript(f float64) string {
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	mantissa, power, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	sign, digits := power[:1], strings.TrimLeft(power[1:], "0")
	return mantissa + "e" + sign + digits
}
